import { onAbort } from "../lib/on-abort.js";
import { canceled } from "./canceled.js";

/** Settles as `promise` does, or rejects as soon as `signal` aborts: for waits that know of no signal themselves. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signal, () => reject(canceled(signal)));
    promise.then(resolve, reject).finally(stop);
  });
}
