import type { Transport } from "@connectrpc/connect";
import type { Bindings } from "./bindings/calls.js";
import { lazyMethods } from "./lazy.js";

export type { BindingAnswer, Bindings, InvokeBindingOptions } from "./bindings/calls.js";

/** The bindings of the server behind `transport`. The code for them is loaded with the first call. */
export function createBindings(transport: Transport): Bindings {
  return lazyMethods(({ bindingCalls }) => bindingCalls(transport), ["invoke"]);
}
