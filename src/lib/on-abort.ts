import { expectManyListeners } from "./max-listeners.js";
import { type SharedSignal, tasksOf } from "./shared-signal.js";

/**
 * Calls `task` once when `signal` aborts, or at once if it has aborted. Returns a function that removes the listener.
 * Node does not warn of the number of listeners.
 */
export function onAbort(signal: SharedSignal | undefined, task: () => void): () => void {
  if (signal?.aborted) task();
  if (!signal || signal.aborted) return () => {};
  if (signal[tasksOf]) return signal[tasksOf].add(task);
  expectManyListeners(signal).addEventListener("abort", task, { once: true });
  return () => signal.removeEventListener("abort", task);
}
