import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";

/**
 * Closes every response of HTTP/1.1 with its connection. Node tells only the one that is being sent: those that are
 * queued behind it, to requests that were pipelined, would be open for ever.
 */
export class PipelinedResponses {
  readonly #open = new WeakMap<Socket, Set<EventEmitter>>();

  add(socket: Socket, response: EventEmitter): void {
    let open = this.#open.get(socket);
    if (!open) {
      const all = new Set<EventEmitter>();
      open = all;
      this.#open.set(socket, all);
      // Behind Node's own word to the one that is being sent.
      socket.once("close", () => setImmediate(() => all.forEach((each) => void each.emit("close"))));
    }
    open.add(response);
    response.once("close", () => open.delete(response));
  }

  /** Those that are under way on the connection. */
  of(socket: Socket): readonly EventEmitter[] {
    return [...(this.#open.get(socket) ?? [])];
  }
}
