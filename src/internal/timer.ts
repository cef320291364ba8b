import { canceled } from "./canceled.js";

/** The longest delay that every runtime's setTimeout takes; a longer one would fire at once. */
export const MAX_DELAY_MS = 2 ** 31 - 1;

/** Runs `task` after `delayMs` without keeping a Node process alive for it. Returns the way to call it off. */
export function after(delayMs: number, task: () => void): () => void {
  const timer: unknown = setTimeout(task, Math.min(Math.max(0, delayMs), MAX_DELAY_MS));
  (timer as { unref?: () => void }).unref?.();
  return () => clearTimeout(timer as number);
}

/** Resolves after `delayMs`; rejects with `Code.Canceled` once `signal` aborts. Keeps a Node process alive. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(canceled(signal));
    const timer = setTimeout(done, Math.min(Math.max(0, delayMs), MAX_DELAY_MS));
    const abort = () => {
      clearTimeout(timer);
      if (signal) reject(canceled(signal));
    };
    signal?.addEventListener("abort", abort, { once: true });
    function done() {
      signal?.removeEventListener("abort", abort);
      resolve();
    }
  });
}
