import type { Transport } from "@connectrpc/connect";
import { lazyTransport, loadChunk } from "../rpc/lazy.js";
import type { Token } from "../rpc/with-token.js";

export type { Token };

/**
 * A transport whose calls carry `token`. A refused call is made again with a fresh token, once, where its request is
 * there to be sent again: unary calls, and those that only the server answers with a stream. A call with an
 * `authorization` header of its own is left as it is. The code for it is loaded with the first call.
 */
export function withToken(transport: Transport, token: Token): Transport {
  return lazyTransport(async () => (await loadChunk(import("./lazy-chunk.js"))).withToken(transport, token));
}
