import { createConnectTransport } from "@connectrpc/connect-web";
import { createFetchTransport, type FetchOptions, type WebTransport } from "./fetch.js";

/** The options of createWebTransport(). */
export interface WebTransportOptions extends FetchOptions {
  /**
   * Sends reads as HTTP GET, which needs no preflight from another origin. The keys are then part of the URL, which
   * proxies may log. Default: false.
   */
  useHttpGet?: boolean;
}

/**
 * A transport over fetch, by the Connect protocol, for browsers, workers, edge isolates and every other runtime with
 * fetch. Calls that send a stream (PutFile, Produce, the subscriptions) use a tunnel, as fetch does not support them;
 * without WebSocket, as on Node 20, they fail with `Code.Unimplemented`. Of several URLs it uses one at a time, the
 * first chosen at random, and another when that server is gone or closes; the code for that is loaded by the first call.
 * Throws a TypeError for a malformed URL. Calls fail with one if a list of URLs is empty or has one twice.
 *
 * @example
 * ```ts
 * import { createState } from "fairlead";
 * import { createWebTransport } from "fairlead/web";
 *
 * const carts = createState<string[]>(createWebTransport("http://localhost:34904"), "default");
 * await carts.set("ada", ["book"]);
 * console.log((await carts.get("ada"))?.value); // [ 'book' ]
 * ```
 */
export function createWebTransport(
  url: string | readonly string[],
  { useHttpGet = false, ...options }: WebTransportOptions = {},
): WebTransport {
  return createFetchTransport(url, options, (wire) => createConnectTransport({ ...wire, useHttpGet }));
}
