import assert from "node:assert/strict";
import { afterEach, beforeEach, test, vi } from "vitest";
import { ClusterClock } from "../../src/server/engines/jetstream/cluster-clock.js";

/** The cluster's clock is this much ahead of the monotonic clock. */
const AHEAD_MS = 1_000_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance", "Date"] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Adds a sample that took `roundTripMs`, of a clock that is `aheadMs` ahead of the monotonic clock. */
function sample(clock: ClusterClock, aheadMs: number, roundTripMs: number): void {
  const sentMs = performance.now();
  vi.advanceTimersByTime(roundTripMs);
  clock.add(sentMs + roundTripMs / 2 + aheadMs, sentMs, performance.now());
}

/** How far the clock is from one that is `aheadMs` ahead of the monotonic clock. */
const errorOf = (clock: ClusterClock, aheadMs: number) => clock.now() - performance.now() - aheadMs;

test("now() follows the most exact sample, and none that took longer", () => {
  const clock = new ClusterClock();
  sample(clock, AHEAD_MS, 100);
  assert.equal(errorOf(clock, AHEAD_MS), 0);
  sample(clock, AHEAD_MS + 3, 10);
  assert.equal(errorOf(clock, AHEAD_MS + 3), 0);
  sample(clock, AHEAD_MS + 20, 40);
  assert.equal(errorOf(clock, AHEAD_MS + 3), 0);
});

test("now() follows a less exact sample when the exact one is old, or cannot be true any more", () => {
  const clock = new ClusterClock();
  sample(clock, AHEAD_MS, 2);
  sample(clock, AHEAD_MS + 500, 100);
  assert.equal(errorOf(clock, AHEAD_MS + 500), 0);
  vi.advanceTimersByTime(61_000);
  sample(clock, AHEAD_MS + 520, 200);
  assert.equal(errorOf(clock, AHEAD_MS + 520), 0);
});

test("now() runs slower until it agrees with a sample that is behind, and never backwards", () => {
  const clock = new ClusterClock();
  sample(clock, AHEAD_MS, 2);
  let lastMs = clock.now();
  sample(clock, AHEAD_MS - 100, 2);
  for (let i = 0; i < 30; i++) {
    vi.advanceTimersByTime(10);
    const nowMs = clock.now();
    assert.ok(nowMs > lastMs, `${nowMs} comes after ${lastMs}`);
    lastMs = nowMs;
  }
  assert.equal(errorOf(clock, AHEAD_MS - 100), 0);
});

test("now() does not stay ahead of a leader's clock that was set back by hours", () => {
  const clock = new ClusterClock();
  sample(clock, AHEAD_MS, 2);
  clock.now();
  sample(clock, AHEAD_MS - 3_600_000, 2);
  assert.equal(errorOf(clock, AHEAD_MS - 3_600_000), 0);
});

test("ageOf() and wall() are of the cluster's clock", () => {
  const clock = new ClusterClock();
  sample(clock, AHEAD_MS, 2);
  const wallMs = clock.wall();
  vi.advanceTimersByTime(1500);
  assert.ok(Math.abs(clock.ageOf(wallMs) - 1500) < 1);
});
