import { createGrpcWebTransport as createBareTransport } from "@connectrpc/connect-web";
import { createFetchTransport, type FetchOptions, type WebTransport } from "./fetch.js";

/**
 * As createWebTransport(), by gRPC-Web, for what stands behind a proxy that knows nothing else. A function of its own,
 * so that a page that speaks Connect does not carry it.
 */
export function createGrpcWebTransport(url: string, options: FetchOptions = {}): WebTransport {
  if ("useHttpGet" in options && options.useHttpGet) {
    throw new TypeError(
      "Cannot send reads as HTTP GET by gRPC-Web: useHttpGet is an option of createWebTransport()",
    );
  }
  return createFetchTransport(url, options, createBareTransport);
}
