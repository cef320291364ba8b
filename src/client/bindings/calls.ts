import type { Transport } from "@connectrpc/connect";
import { Runtime } from "../../../gen/runtime/bindings_pb.js";
import { checkedName, checkOptions } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { utf8 } from "../../lib/utf8.js";
import type { Bindings } from "../bindings.js";
import { generatedClient } from "../generated-client.js";

/** The implementation of createBindings(). */
export function bindingCalls(transport: Transport): Bindings {
  const client = generatedClient(Runtime, transport);
  return {
    async invoke(name, operation, data = new Uint8Array(), options = {}) {
      const failure = `Cannot invoke ${quote(operation)} of binding ${quote(name)}`;
      checkedName(`${failure}: the name`, name);
      checkedName(`${failure}: the operation`, operation);
      checkOptions(failure, options, { metadata: "texts" });
      const { metadata = {}, ...call } = options;
      const bytes = typeof data === "string" ? utf8(data) : data;
      if (!(bytes instanceof Uint8Array)) {
        throw new TypeError(`${failure}: data must be a Uint8Array or text, got ${quote(data)}`);
      }
      const answer = await client.invokeBinding({ name, operation, data: bytes, metadata }, call);
      return { data: answer.data, metadata: answer.metadata };
    },
  };
}
