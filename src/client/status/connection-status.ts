import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../lib/on-abort.js";
import { keepProcessAlive } from "../../lib/process-alive.js";
import { canceled } from "../../rpc/canceled.js";
import type { ConnectionState, Status, StatusChange } from "../status.js";

/**
 * The status of one long-lived object. From begin() to close() it keeps a Node process alive, and becomes
 * "disconnected" as soon as the browser reports that it is offline.
 */
export class ConnectionStatus implements Status {
  readonly #readers = new Set<() => void>();
  readonly #probes = new Set<() => void>();
  #letProcessEnd = () => {};
  #state: StatusChange = { current: "connecting", sinceMs: Date.now(), error: undefined };

  begin(): this {
    this.#letProcessEnd = keepProcessAlive();
    globalThis.addEventListener?.("offline", this.#offline);
    globalThis.addEventListener?.("online", this.#online);
    return this;
  }

  get current(): ConnectionState {
    return this.#state.current;
  }

  get sinceMs(): number {
    return this.#state.sinceMs;
  }

  get error(): unknown {
    return this.#state.error;
  }

  /** The server has answered. */
  connected(): void {
    if (this.current !== "connected") this.#become("connected");
  }

  /** The connection was lost, or could not be made. */
  disconnected(error: unknown): void {
    if (this.current !== "disconnected") this.#become("disconnected", error);
  }

  /** It has ended, through `error` where there is one. Idempotent. */
  close(error?: unknown): void {
    if (this.current === "closed") return;
    this.#become("closed", error);
    this.#letProcessEnd();
    this.#readers.clear();
    this.#probes.clear();
    globalThis.removeEventListener?.("offline", this.#offline);
    globalThis.removeEventListener?.("online", this.#online);
  }

  /** Calls `task` when the network has changed, until what it returns is called. */
  onNetworkChange(task: () => void): () => void {
    this.#probes.add(task);
    return () => this.#probes.delete(task);
  }

  changes({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<StatusChange, undefined> {
    let told = this.#state;
    let isOver = false;
    let stop: (() => void) | undefined;
    const waiting: (() => void)[] = [];
    const wake = () => {
      for (const look of waiting.splice(0)) look();
    };
    const end = async (): Promise<IteratorResult<StatusChange, undefined>> => {
      isOver = true;
      stop?.();
      this.#readers.delete(wake);
      wake();
      return { value: undefined, done: true };
    };
    // By hand: a page with a tunnel carries it from the beginning.
    const next = async (): Promise<IteratorResult<StatusChange, undefined>> => {
      if (isOver) return end();
      if (signal?.aborted) {
        void end();
        throw canceled(signal);
      }
      if (told !== this.#state) {
        told = this.#state;
        return { value: told, done: false };
      }
      if (told.current === "closed") return end();
      stop ??= onAbort(signal, wake);
      return new Promise((resolve) => waiting.push(() => resolve(next())));
    };
    this.#readers.add(wake);
    return {
      next,
      return: end,
      async throw(error) {
        await end();
        throw error;
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #become(current: ConnectionState, error?: unknown): void {
    if (this.current === "closed") return;
    this.#state = { current, sinceMs: Date.now(), error };
    for (const notify of this.#readers) notify();
  }

  readonly #offline = (): void => {
    this.disconnected(new ConnectError("the network is offline", Code.Unavailable));
    for (const changed of this.#probes) changed();
  };

  readonly #online = (): void => {
    if (this.current !== "connected") for (const changed of this.#probes) changed();
  };
}
