import { onAbort } from "../lib/on-abort.js";
import { canceled } from "./canceled.js";

/** Settles as `promise` does, or rejects as soon as `signal` aborts. For promises of APIs that take no signal. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stopListening = onAbort(signal, () => reject(canceled(signal)));
    promise.then(resolve, reject).finally(stopListening);
  });
}
