import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/runtime/bindings_pb.js";
import { checkedName, checkOptions } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { utf8 } from "../../lib/utf8.js";
import { generatedClient } from "../generated-client.js";

/** What goes along with a call to a system outside. */
export interface InvokeBindingOptions extends CallOptions {
  /** Options for the operation, as the binding defines them. An `http` binding takes `path` and headers ("Accept"). */
  metadata?: Record<string, string>;
}

/** What a binding answered. */
export type BindingAnswer = {
  /** What the system outside answered. */
  data: Uint8Array;
  /** Remarks on it. Of an `http` binding: `statusCode`, `status` and the headers ("Content-Type"). */
  metadata: Record<string, string>;
};

/** Calls to systems outside, under the names that the server gives them. */
export interface Bindings {
  /**
   * Runs `operation` of the binding `name`; a text is sent as UTF-8. Never tried again: it may have happened. Where an
   * `http` binding's target answers with a failure, the error's `httpStatus()` tells which. `InvokeBinding`
   */
  invoke(
    name: string,
    operation: string,
    data?: Uint8Array | string,
    options?: InvokeBindingOptions,
  ): Promise<BindingAnswer>;
}

/** What createBindings() gives, all of it. */
export function bindingCalls(transport: Transport): Bindings {
  const client = generatedClient(Runtime, transport);
  return {
    async invoke(name, operation, data = new Uint8Array(), options = {}) {
      const what = `Cannot invoke ${quote(operation)} of binding ${quote(name)}`;
      checkedName(`${what}: the name`, name);
      checkedName(`${what}: the operation`, operation);
      checkOptions(what, options, { metadata: "texts" });
      const { metadata = {}, ...call } = options;
      const bytes = typeof data === "string" ? utf8(data) : data;
      if (!(bytes instanceof Uint8Array)) {
        throw new TypeError(`${what}: data must be a Uint8Array or text, got ${quote(data)}`);
      }
      const answer = await client.invokeBinding({ name, operation, data: bytes, metadata }, call);
      return { data: answer.data, metadata: answer.metadata };
    },
  };
}
