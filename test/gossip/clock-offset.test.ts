import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { clockOf, HybridClock, senderMsOf, wallMsOf } from "../../src/gossip/clock.js";
import { ClockOffset } from "../../src/gossip/clock-offset.js";
import { timestampFault } from "../../src/gossip/timestamp-fault.js";

const NOW = 1_800_000_000_000;

/** The timestamp of a message of a server whose wall clock shows `nowMs`. */
const stamp = (nowMs: number) => new HybridClock("server", { nowMs: () => nowMs }).read();

/** The timestamp of a server whose hybrid clock is `aheadMs` ahead of its wall clock. */
function stampAhead(nowMs: number, aheadMs: number): Uint8Array {
  const clock = new HybridClock("server", { nowMs: () => nowMs });
  clock.observe(stamp(nowMs + aheadMs));
  return clock.read();
}

test("a clock that the messages do not prove wrong is left alone", () => {
  const offset = new ClockOffset();
  assert.equal(offset.offsetMs, 0);
  offset.learn(stamp(NOW), { sentMs: NOW - 40, receivedMs: NOW + 40 });
  assert.equal(offset.offsetMs, 0);
  // A slow message proves nothing.
  offset.learn(stamp(NOW), { receivedMs: NOW + 30_000 });
  assert.equal(offset.offsetMs, 0);
});

test("the offset is at least that of the fastest message, and at most that of a response", () => {
  const behind = new ClockOffset();
  behind.learn(stamp(NOW + 5000), { sentMs: NOW - 20, receivedMs: NOW + 2000 });
  assert.equal(behind.offsetMs, 3000);
  behind.learn(stamp(NOW + 8000), { receivedMs: NOW + 3100 });
  assert.equal(behind.offsetMs, 4900);
  behind.learn(stamp(NOW + 9000), { receivedMs: NOW + 9000 });
  assert.equal(behind.offsetMs, 4900, "a slower one does not count");
  const ahead = new ClockOffset();
  ahead.learn(stamp(NOW - 3_600_000), { sentMs: NOW - 100, receivedMs: NOW });
  assert.equal(ahead.offsetMs, -3_599_900);
});

test("a message tells the wall clock of its sender, even if its clock is ahead of that", () => {
  assert.equal(senderMsOf(stamp(NOW)), NOW);
  const timestamp = stampAhead(NOW, 50_000);
  assert.deepEqual([wallMsOf(timestamp), senderMsOf(timestamp)], [NOW + 50_000, NOW]);
  assert.equal(clockOf(timestamp), clockOf(stamp(NOW + 50_000)), "the clock itself is not changed");
  assert.equal(timestampFault(timestamp), undefined);
  const offset = new ClockOffset();
  offset.learn(timestamp, { sentMs: NOW - 10, receivedMs: NOW + 10 });
  assert.equal(offset.offsetMs, 0);
  assert.equal(senderMsOf(new Uint8Array(8)), undefined);
});

test("logical clocks of other implementations are ignored", () => {
  const offset = new ClockOffset();
  for (const timestamp of [new Uint8Array(), new Uint8Array(8), Uint8Array.of(0, 0, 0, 0, 0, 5, 0, 0)])
    offset.learn(timestamp, { sentMs: NOW, receivedMs: NOW });
  assert.equal(offset.offsetMs, 0);
});

test("a clock that was set meanwhile is learned again", () => {
  const offset = new ClockOffset();
  offset.learn(stamp(NOW), { sentMs: NOW - 10, receivedMs: NOW + 10 });
  // This process's clock was set back by an hour.
  offset.learn(stamp(NOW + 1000), { receivedMs: NOW - 3_599_000 });
  assert.equal(offset.offsetMs, 3_600_000);
  offset.reset();
  assert.equal(offset.offsetMs, 0);
});

test("whatever the delays, the error is at most the fastest round trip's", () => {
  const delays = fc.array(fc.tuple(fc.nat(20_000), fc.nat(20_000)), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(fc.integer({ min: -100_000_000, max: 100_000_000 }), delays, (trueMs, all) => {
      const offset = new ClockOffset();
      let localMs = NOW;
      for (const [thereMs, backMs] of all) {
        offset.learn(stamp(localMs + thereMs + trueMs), {
          sentMs: localMs,
          receivedMs: localMs + thereMs + backMs,
        });
        localMs += 50_000;
      }
      const best =
        Math.min(...all.map(([, backMs]) => backMs)) + Math.min(...all.map(([thereMs]) => thereMs));
      assert.ok(Math.abs(offset.offsetMs - trueMs) <= Math.max(best, 0), `${offset.offsetMs} for ${trueMs}`);
    }),
  );
});
