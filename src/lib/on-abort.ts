import { expectManyListeners } from "./max-listeners.js";

/**
 * Calls `task` once when `signal` aborts, or at once if it has aborted. Returns a function that removes the listener.
 * Node does not warn of the number of listeners.
 */
export function onAbort(signal: AbortSignal | undefined, task: () => void): () => void {
  if (signal?.aborted) task();
  if (!signal || signal.aborted) return () => {};
  expectManyListeners(signal).addEventListener("abort", task, { once: true });
  return () => signal.removeEventListener("abort", task);
}
