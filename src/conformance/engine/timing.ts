import { sleep } from "../../rpc/sleep.js";
import type { EngineClock } from "../../server/engine.js";

/** The maximum delay of expiry notices and redelivered events. */
export const LATE_MS = 1000;

/** A signal that never aborts. */
export const neverAborts = (): AbortSignal => new AbortController().signal;

/** Resolves after `clock` has passed `atMs`. Timers alone may fire early. Default: the machine's clock. */
export async function waitUntilAfter(atMs: number, clock: Pick<EngineClock, "now"> = Date): Promise<void> {
  while (clock.now() <= atMs) await sleep(atMs - clock.now() + 1);
}

/** Blocks the event loop until `clock` shows `atMs`, so that no timer can fire on time. */
export function blockUntil(atMs: number, clock: Pick<EngineClock, "now">): void {
  while (clock.now() < atMs) {}
}
