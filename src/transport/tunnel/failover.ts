import type { ConnectError } from "@connectrpc/connect";
import { baseUrlOf } from "../../lib/base-url.js";
import { dialOneOf, hostOf } from "../failover/dial.js";
import { withNotedErrors } from "../failover/noted-errors.js";
import { isClosing, markForOther, serverFailure } from "../failover/server-failure.js";
import { serverListOf } from "../failover/server-list.js";
import { serverUrls } from "../failover/server-urls.js";
import {
  createTunnelTo,
  type ServerUrls,
  type TunnelTransport,
  type TunnelTransportOptions,
} from "../tunnel.js";

/** A tunnel transport to the server at `urls`, or to one of several. */
export function openTunnel(urls: ServerUrls, options: TunnelTransportOptions): TunnelTransport {
  const tunnel = createTunnelTo(urls, { ...options, host: hostOf(urls) }, dialOneOf);
  return overServers(urls, { ...tunnel, sibling: (url) => openTunnel([baseUrlOf(url)], options) });
}

/** `transport`, which dials one of the servers at `urls`. Its errors tell that a retry may reach another. */
export function overServers(urls: ServerUrls, transport: TunnelTransport): TunnelTransport {
  if (!urls[1]) return transport;
  const note = (error: unknown): void => {
    const failure = serverFailure(error);
    if (!failure || !serverListOf(urls).hasOther()) return;
    // A server that refuses work is left only if it closes: its tunnel says so.
    if (failure === "lost" || isClosing(error as ConnectError)) markForOther(error as ConnectError, failure);
  };
  return {
    ...transport,
    async unary(...args) {
      try {
        return await transport.unary(...args);
      } catch (error) {
        note(error);
        throw error;
      }
    },
    async stream(...args) {
      try {
        return withNotedErrors(await transport.stream(...args), note);
      } catch (error) {
        note(error);
        throw error;
      }
    },
  };
}

/**
 * As createTunnelTransport(), to one of several servers: it uses one at a time, the first chosen at random, and the
 * next when that one is gone or closes. It is a separate function so that pages with one server do not load its code;
 * createTunnelTransport() of `fairlead/node` takes several URLs itself. Throws a TypeError if there is no URL, or one
 * is malformed or occurs twice.
 *
 * @example
 * ```ts browser
 * import { createState } from "fairlead";
 * import { createFailoverTunnelTransport } from "fairlead/tunnel";
 *
 * const transport = createFailoverTunnelTransport(["https://a.example.com", "https://b.example.com"]);
 * const carts = createState<string[]>(transport, "default");
 * await carts.set("ada", ["book"]);
 * ```
 */
export const createFailoverTunnelTransport = (
  urls: readonly string[],
  options: TunnelTransportOptions = {},
): TunnelTransport => openTunnel(serverUrls(urls), options);
