import type { CallOptions, Transport } from "@connectrpc/connect";
import { lazyMethods } from "./lazy.js";

/** Options of `invoke()`. */
export interface InvokeBindingOptions extends CallOptions {
  /**
   * Options of the operation, as the binding defines them. An `http` binding takes `path`, and headers under their
   * names ("Accept"). Default: none.
   */
  metadata?: Record<string, string>;
}

/** The answer of an external system. */
export type BindingAnswer = {
  /** The data of the answer. */
  data: Uint8Array;
  /** Its metadata; from an `http` binding `statusCode`, `status` and the headers ("Content-Type"). */
  metadata: Record<string, string>;
};

/** Calls to external systems, by the names that the server's configuration gives them. */
export interface Bindings {
  /**
   * Runs `operation` of the binding `name`; a string is sent as UTF-8. It is never retried, because it may have had an
   * effect. If the target of an `http` binding answers with an error, `httpStatus(error)` is its status.
   * `InvokeBinding`
   */
  invoke(
    name: string,
    operation: string,
    data?: Uint8Array | string,
    options?: InvokeBindingOptions,
  ): Promise<BindingAnswer>;
}

/**
 * The bindings of the server behind `transport`. Their code is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createBindings } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const bindings = createBindings(createWebTransport("http://localhost:34904"));
 * const { data } = await bindings.invoke("echo", "create", "ping");
 * console.log(new TextDecoder().decode(data)); // ping
 * ```
 */
export function createBindings(transport: Transport): Bindings {
  return lazyMethods(({ bindingCalls }) => bindingCalls(transport), ["invoke"]);
}
