import { sleep } from "../../rpc/sleep.js";

/** The maximum delay of expiry notices and redelivered events. */
export const LATE_MS = 1000;

/** A signal that never aborts. */
export const neverAborts = (): AbortSignal => new AbortController().signal;

/** Resolves after the clock has passed `atMs`. Timers alone may fire early. */
export async function waitUntilAfter(atMs: number): Promise<void> {
  while (Date.now() <= atMs) await sleep(atMs - Date.now() + 1);
}

/** Blocks the event loop until `atMs`, so that no timer can fire on time. */
export function blockUntil(atMs: number): void {
  while (Date.now() < atMs) {}
}
