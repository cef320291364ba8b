import { type MessagePortLike, overMessagePort } from "../tunnel/socket/message-port.js";
import type { OpenSocket } from "../tunnel/socket/socket.js";

/** What a page tells the worker first: which tunnel it wants a share of. */
export interface SharedTunnelOptions {
  readonly url: string;
  readonly appId: string | undefined;
  readonly idleMs: number;
  readonly dialTimeoutMs: number;
}

/** A `SharedWorker`, by a type that needs no DOM. */
export interface TunnelWorker {
  /** The port to the worker, as SharedWorker has it. */
  readonly port: object;
}

/** A page's side: a port to the worker, in the place of a socket to the server. */
export function dialShared(worker: TunnelWorker, share: SharedTunnelOptions): OpenSocket {
  const port = worker.port as MessagePortLike;
  port.postMessage(share, []);
  return overMessagePort(port);
}
