import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { Code } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { runAfter } from "../../src/lib/timer.js";
import { sleep } from "../../src/rpc/sleep.js";

describe("timer", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const MONTH_MS = 30 * 24 * 3_600_000;

  test("runAfter() runs its task once, after delays of any length", async () => {
    for (const delayMs of [1, 2 ** 31 - 1, 2 ** 31, MONTH_MS, 3 * MONTH_MS]) {
      let runs = 0;
      runAfter(delayMs, () => runs++);
      await vi.advanceTimersByTimeAsync(delayMs - 1);
      assert.equal(runs, 0, `${delayMs} ms`);
      await vi.advanceTimersByTimeAsync(1);
      assert.equal(runs, 1);
      await vi.advanceTimersByTimeAsync(MONTH_MS);
      assert.equal(runs, 1);
    }
  });

  test("runAfter() with a negative delay runs at once, with an infinite one never", async () => {
    let runs = 0;
    runAfter(-5, () => runs++);
    runAfter(Number.POSITIVE_INFINITY, () => runs++);
    await vi.advanceTimersByTimeAsync(3 * MONTH_MS);
    assert.equal(runs, 1);
  });

  test("runAfter() that was stopped does not run, even after the first part of a long delay", async () => {
    let runs = 0;
    const early = runAfter(10, () => runs++);
    const late = runAfter(MONTH_MS, () => runs++);
    early();
    await vi.advanceTimersByTimeAsync(MONTH_MS - 1);
    late();
    late();
    await vi.advanceTimersByTimeAsync(MONTH_MS);
    assert.deepEqual([runs, vi.getTimerCount()], [0, 0]);
  });

  test("sleep() resolves after its time and leaves no listener", async () => {
    const { signal } = new AbortController();
    let done = false;
    void sleep(MONTH_MS, signal).then(() => {
      done = true;
    });
    await vi.advanceTimersByTimeAsync(MONTH_MS - 1);
    assert.equal(done, false);
    await vi.advanceTimersByTimeAsync(1);
    assert.equal(done, true);
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });

  test("sleep() rejects as canceled when its signal aborts, before or during it, and leaves no timer", async () => {
    await assert.rejects(sleep(10, AbortSignal.abort()), { code: Code.Canceled });
    const enough = new AbortController();
    const slept = assert.rejects(sleep(10, enough.signal), { code: Code.Canceled });
    enough.abort();
    await slept;
    assert.equal(vi.getTimerCount(), 0);
  });
});

test("runAfter() does not keep a Node process alive", () => {
  const timers = vi.spyOn(globalThis, "setTimeout");
  const callOff = runAfter(60_000, () => {});
  const timer = timers.mock.results[0]?.value as NodeJS.Timeout | undefined;
  assert.equal(timer?.hasRef(), false);
  callOff();
  timers.mockRestore();
});
