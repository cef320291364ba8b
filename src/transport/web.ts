import { createConnectTransport } from "@connectrpc/connect-web";
import { createFetchTransport, type FetchOptions, type WebTransport } from "./fetch.js";

/** How calls travel by Connect. */
export interface WebTransportOptions extends FetchOptions {
  /**
   * Sends the reads as HTTP GET, which needs no preflight from another origin; the keys that are read then stand in
   * the URL, where proxies log them. Default: false.
   */
  useHttpGet?: boolean;
}

/**
 * A transport over fetch, for browsers, workers, edge isolates and every other runtime that has it. Calls that send a
 * stream (PutFile, Produce, the subscriptions) are beyond fetch and go through a tunnel; where there is no WebSocket for
 * it, as on Node 20, they fail with `Code.Unimplemented`.
 */
export function createWebTransport(
  url: string,
  { useHttpGet = false, ...options }: WebTransportOptions = {},
): WebTransport {
  return createFetchTransport(url, options, (wire) => createConnectTransport({ ...wire, useHttpGet }));
}
