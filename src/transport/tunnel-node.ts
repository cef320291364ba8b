import type { SecureContextOptions } from "node:tls";
import { tunnelUrl } from "../tunnel/socket/web-socket.js";
import { dialWs } from "../tunnel/socket/ws-socket.js";
import { dialOneOf, hostOf } from "./failover/dial.js";
import { serverUrls } from "./failover/server-urls.js";
import { overServers } from "./tunnel/failover.js";
import { createTransportOver, type TunnelTransport, type TunnelTransportOptions } from "./tunnel.js";

export interface NodeTunnelOptions extends TunnelTransportOptions {
  /** The certificate authorities (PEM) to trust instead of those of Node. */
  ca?: SecureContextOptions["ca"];
}

/**
 * A transport through a tunnel to the server at `url`, for Node, Deno and Bun: every kind of call over one WebSocket,
 * in both directions. The socket opens with the first call; an idle one does not keep the process alive. Of several
 * URLs it uses one at a time, the first chosen at random, and another when that server is gone or closes. Throws a
 * TypeError for a malformed URL, and for a list of URLs that is empty or has one twice.
 *
 * @example
 * ```ts
 * import { createState } from "fairlead";
 * import { createTunnelTransport } from "fairlead/node";
 *
 * const transport = createTunnelTransport("http://localhost:34904");
 * const carts = createState<string[]>(transport, "default");
 * await carts.set("ada", ["book"]);
 * await transport.close();
 * ```
 */
export function createTunnelTransport(
  url: string | readonly string[],
  given: NodeTunnelOptions = {},
): TunnelTransport {
  const { ca, dialTimeoutMs = 10_000, ...options } = given;
  const urls = serverUrls(url);
  const tls = ca === undefined ? {} : { ca };
  const dial = () => dialOneOf(urls, (each) => dialWs(tunnelUrl(each), dialTimeoutMs, tls));
  return overServers(urls, {
    ...createTransportOver(urls[0], dial, { ...options, dialTimeoutMs, host: hostOf(urls) }),
    sibling: (other) => createTunnelTransport(other, given),
  });
}
