import type { Transport } from "@connectrpc/connect";
import { lazyTransport } from "./lazy.js";

/**
 * A bearer token, or a function that returns one. The function is called before every call; if the server refuses the
 * token, it is called once more with the refused one.
 */
export type Token = string | ((refused?: string) => string | Promise<string>);

/**
 * A transport whose calls carry `token`. If the server refuses a call, it is repeated once with a fresh token, if its
 * request can be sent again: unary and server-streaming calls. A call with its own `authorization` header is not
 * changed. Its code is loaded by the first call.
 *
 * @example
 * ```ts
 * import { createState, withToken } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const transport = withToken(createWebTransport("http://localhost:34904"), () => "an-access-token");
 * await createState(transport, "default").set("greeting", "hello");
 * ```
 */
export function withToken(transport: Transport, token: Token): Transport {
  return lazyTransport((code) => code.withBearerToken(transport, token));
}
