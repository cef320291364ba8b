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
  readonly #networkTasks = new Set<() => void>();
  #releaseProcess = () => {};
  #state: StatusChange = { current: "connecting", sinceMs: Date.now(), error: undefined };

  begin(): this {
    this.#releaseProcess = keepProcessAlive();
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

  /** It has ended, with `error` if there is one. Idempotent. */
  close(error?: unknown): void {
    if (this.current === "closed") return;
    this.#become("closed", error);
    this.#releaseProcess();
    this.#readers.clear();
    this.#networkTasks.clear();
    globalThis.removeEventListener?.("offline", this.#offline);
    globalThis.removeEventListener?.("online", this.#online);
  }

  /** Calls `task` when the network has changed, until the returned function is called. */
  onNetworkChange(task: () => void): () => void {
    this.#networkTasks.add(task);
    return () => this.#networkTasks.delete(task);
  }

  changes({ signal }: { signal?: AbortSignal } = {}): AsyncIterableIterator<StatusChange, undefined> {
    let last = this.#state;
    let hasEnded = false;
    let stopListening: (() => void) | undefined;
    const waiting: (() => void)[] = [];
    const wake = () => {
      for (const resume of waiting.splice(0)) resume();
    };
    const end = async (): Promise<IteratorResult<StatusChange, undefined>> => {
      hasEnded = true;
      stopListening?.();
      this.#readers.delete(wake);
      wake();
      return { value: undefined, done: true };
    };
    // Not an async generator with cancelable(), which would add to every page with a tunnel.
    const next = async (): Promise<IteratorResult<StatusChange, undefined>> => {
      if (hasEnded) return end();
      if (signal?.aborted) {
        void end();
        throw canceled(signal);
      }
      if (last !== this.#state) {
        last = this.#state;
        return { value: last, done: false };
      }
      if (last.current === "closed") return end();
      stopListening ??= onAbort(signal, wake);
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
    for (const wake of this.#readers) wake();
  }

  readonly #offline = (): void => {
    this.disconnected(new ConnectError("the network is offline", Code.Unavailable));
    for (const task of this.#networkTasks) task();
  };

  readonly #online = (): void => {
    if (this.current !== "connected") for (const task of this.#networkTasks) task();
  };
}
