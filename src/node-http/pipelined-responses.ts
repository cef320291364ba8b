import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";

/**
 * Emits "close" on every HTTP/1.1 response when its connection closes. Node does so only for the response that is being
 * sent: those queued behind it, for pipelined requests, would stay open for ever.
 */
export class PipelinedResponses {
  readonly #open = new WeakMap<Socket, Set<EventEmitter>>();

  add(socket: Socket, response: EventEmitter): void {
    let open = this.#open.get(socket);
    if (!open) {
      const all = new Set<EventEmitter>();
      open = all;
      this.#open.set(socket, all);
      // After Node's own event for the response that is being sent.
      socket.once("close", () => setImmediate(() => all.forEach((each) => void each.emit("close"))));
    }
    open.add(response);
    response.once("close", () => open.delete(response));
  }

  /** The open responses of a connection. */
  of(socket: Socket): readonly EventEmitter[] {
    return [...(this.#open.get(socket) ?? [])];
  }
}
