import type { Transport } from "@connectrpc/connect";
import type { Bindings } from "./internal/binding-calls.js";
import { onDemand } from "./internal/later.js";

export type { BindingAnswer, Bindings, InvokeBindingOptions } from "./internal/binding-calls.js";

/** The bindings of the server behind `transport`. The code for them is loaded with the first call. */
export function createBindings(transport: Transport): Bindings {
  return onDemand(({ bindingCalls }) => bindingCalls(transport), ["invoke"]);
}
