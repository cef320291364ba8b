import { expectManyListeners } from "../lib/max-listeners.js";
import { unavailable } from "./errors.js";

/** The steps in which a server shuts down, each with a signal that it aborts. Each step does those before it, too. */
export interface Shutdown {
  /** Reports that the server is not ready. Calls are still accepted. */
  drain(): void;
  /** Aborted by drain(). */
  readonly draining: AbortSignal;
  /** Ends streams that have no end of their own. */
  endStreams(): void;
  /** Aborted by endStreams(). */
  readonly closing: AbortSignal;
  /** Registers `task`, which runs after endCalls(). */
  beforeClose(task: () => Promise<void>): void;
  /** Runs the registered tasks, and resolves when all have settled. */
  runTasks(): Promise<void>;
  /** Ends all calls. */
  endCalls(): void;
  /** Aborted by endCalls(). */
  readonly closed: AbortSignal;
}

export function createShutdown(): Shutdown {
  const drainController = new AbortController();
  const streamController = new AbortController();
  const callController = new AbortController();
  const tasks: (() => Promise<void>)[] = [];
  expectManyListeners(streamController.signal);
  expectManyListeners(callController.signal);
  const reason = () =>
    unavailable("the server is closing", { retryAfterMs: 500, facts: { closing: "true" } });
  const drain = () => drainController.abort();
  const endStreams = () => {
    drain();
    streamController.abort(reason());
  };
  return {
    drain,
    draining: drainController.signal,
    endStreams,
    closing: streamController.signal,
    beforeClose: (task) => void tasks.push(task),
    async runTasks() {
      await Promise.allSettled(tasks.map((task) => task()));
    },
    endCalls() {
      endStreams();
      callController.abort(reason());
    },
    closed: callController.signal,
  };
}
