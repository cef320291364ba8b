import type { Environment } from "../../src/gossip/environment.js";

/** Time that passes only when a test says so. */
export interface ManualTime extends Environment {
  /** Lets `ms` pass, and runs the timers that are due, each at its time. */
  pass(ms: number): void;
  /** Sets the wall clock ahead by `ms`, or back. Timers do not notice. */
  setAhead(ms: number): void;
  /** The number of timers that wait. */
  readonly timers: number;
}

/** `nowMs`: the wall clock at the beginning. */
export function manualTime(nowMs = 1_800_000_000_000): ManualTime {
  const timers = new Set<{ atMs: number; task: () => void }>();
  let passedMs = 0;
  let wallMs = nowMs;
  return {
    nowMs: () => wallMs + passedMs,
    monotonicMs: () => passedMs,
    random: () => 0.5,
    after(delayMs, task) {
      const timer = { atMs: passedMs + Math.max(0, delayMs), task };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    pass(ms) {
      const untilMs = passedMs + ms;
      for (;;) {
        const [next] = [...timers].sort((a, b) => a.atMs - b.atMs);
        if (!next || next.atMs > untilMs) break;
        passedMs = next.atMs;
        timers.delete(next);
        next.task();
      }
      passedMs = untilMs;
    },
    setAhead(ms) {
      wallMs += ms;
    },
    get timers() {
      return timers.size;
    },
  };
}
