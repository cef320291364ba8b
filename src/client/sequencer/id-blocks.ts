import type { CallOptions } from "@connectrpc/connect";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { canceled } from "../../rpc/canceled.js";
import { ID_COUNT_HEADER } from "../../rpc/extension-headers.js";

/**
 * Ids without end. `reserve` reserves a block and returns its first id; a response header has the size of the block.
 */
export function idBlocks<O extends CallOptions>(
  reserve: (options: O) => Promise<bigint>,
  options: O,
): CancelableIterator<bigint> {
  const ids = async function* (signal: AbortSignal) {
    while (true) {
      let count = 1n;
      const call = withOnHeader({ ...options, signal }, (headers) => {
        count = BigInt(headers.get(ID_COUNT_HEADER) ?? "1");
      });
      const first = await reserve(call);
      for (let id = first; id < first + count; id++) {
        if (signal.aborted) throw canceled(signal);
        yield id;
      }
    }
  };
  return cancelable(ids, { signal: options.signal });
}
