import { expectManyListeners } from "./max-listeners.js";

/**
 * Calls `task` once when `signal` aborts, at once where it has. Returns the way to call it off. One signal may stop any
 * number of things: Node is told so, before it warns of a leak at the eleventh listener.
 */
export function onAbort(signal: AbortSignal | undefined, task: () => void): () => void {
  if (signal?.aborted) task();
  if (!signal || signal.aborted) return () => {};
  expectManyListeners(signal).addEventListener("abort", task, { once: true });
  return () => signal.removeEventListener("abort", task);
}
