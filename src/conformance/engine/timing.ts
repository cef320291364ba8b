import { sleep } from "../../rpc/sleep.js";

/** How late what happens by itself may be: an expiry that is told, an event that is due again. */
export const LATE_MS = 1000;

/** A signal that does not abort. */
export const neverAborts = (): AbortSignal => new AbortController().signal;

/** Resolves when the clock has passed `atMs`: timers may be a little early. */
export async function waitUntilAfter(atMs: number): Promise<void> {
  while (Date.now() <= atMs) await sleep(atMs - Date.now() + 1);
}

/** Lets the clock pass `atMs` and nothing else happen: no timer is in time. */
export function blockUntil(atMs: number): void {
  while (Date.now() < atMs) {}
}
