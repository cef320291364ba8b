import { armTimeout } from "../lib/timer.js";
import { canceled } from "./canceled.js";

/** Resolves after `delayMs`; rejects with `Code.Canceled` once `signal` aborts. Keeps a Node process alive. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(canceled(signal));
    const stopTimer = armTimeout(delayMs, () => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
    const abort = () => {
      stopTimer();
      if (signal) reject(canceled(signal));
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}
