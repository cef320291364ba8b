import type { Transport } from "@connectrpc/connect";
import { lazyTransport } from "./lazy.js";

/**
 * A bearer token, or a function that returns one. The function is called before every call; if the server refuses the
 * token, it is called once more with the refused one.
 */
export type Token = string | ((refused?: string) => string | Promise<string>);

/**
 * A transport whose calls carry `token`. A refused call is made again with a fresh token, once, where its request is
 * there to be sent again: unary calls, and those that only the server answers with a stream. A call with an
 * `authorization` header of its own is left as it is. The code for it is loaded with the first call.
 */
export function withToken(transport: Transport, token: Token): Transport {
  return lazyTransport((code) => code.withBearerToken(transport, token));
}
