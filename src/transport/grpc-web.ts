import { createGrpcWebTransport as createConnectGrpcWebTransport } from "@connectrpc/connect-web";
import { createFetchTransport, type FetchOptions, type WebTransport } from "./fetch.js";

/**
 * As createWebTransport(), by the gRPC-Web protocol, for servers behind a proxy that supports only that. It is a
 * separate function so that pages with Connect do not load its code.
 *
 * @example
 * ```ts
 * import { createState } from "fairlead";
 * import { createGrpcWebTransport } from "fairlead/web";
 *
 * const carts = createState<string[]>(createGrpcWebTransport("http://localhost:34904"), "default");
 * await carts.set("ada", ["book"]);
 * ```
 */
export function createGrpcWebTransport(
  url: string | readonly string[],
  options: FetchOptions = {},
): WebTransport {
  if ("useHttpGet" in options && options.useHttpGet) {
    throw new TypeError(
      "Cannot send reads as HTTP GET by gRPC-Web: useHttpGet is an option of createWebTransport()",
    );
  }
  return createFetchTransport(url, options, createConnectGrpcWebTransport);
}
