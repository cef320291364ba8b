import { type MessagePortLike, overMessagePort } from "../tunnel/socket/message-port.js";
import type { OpenSocket } from "../tunnel/socket/socket.js";

/** The first message of a page to the worker: the tunnel that it wants to share. */
export interface SharedTunnelOptions {
  readonly urls: readonly [string, ...string[]];
  readonly appId: string | undefined;
  readonly idleMs: number;
  readonly dialTimeoutMs: number;
}

/** A `SharedWorker`, as a type that does not need the DOM library. */
export interface TunnelWorker {
  /** The SharedWorker's `port`. */
  readonly port: object;
}

/** Opens a port to the worker, in place of a socket to the server. */
export function dialShared(worker: TunnelWorker, options: SharedTunnelOptions): OpenSocket {
  const port = worker.port as MessagePortLike;
  port.postMessage(options, []);
  return overMessagePort(port);
}
