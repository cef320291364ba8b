import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { commitWrites, set } from "../../src/conformance/engine/writes.js";

import { utf8 } from "../../src/lib/utf8.js";
import type { Engine } from "../../src/server/engine.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { Clock } from "../../src/server/engines/shared/clock.js";
import { isExpired } from "../../src/server/services/pubsub/cloud-event.js";

const HOUR_MS = 3_600_000;

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

afterEach(() => void vi.useRealTimers());

const fresh = () => join(folder, `${++count}`);

/** Sets the wall clock; nothing else. */
function jump(ms: number): void {
  const now = Date.now() + ms;
  if (vi.isFakeTimers()) vi.setSystemTime(now);
  else vi.useFakeTimers({ toFake: ["Date"], now });
}

describe("the clock", () => {
  const machine = () => {
    const at = { wall: 1_000_000, monotonic: 0 };
    const sources = { wall: () => at.wall, monotonic: () => at.monotonic };
    const pass = (ms: number) => {
      at.wall += ms;
      at.monotonic += ms;
    };
    return { at, sources, pass };
  };

  test("its time is monotonic, its timestamps are those of the wall clock", () => {
    const { at, sources, pass } = machine();
    const clock = new Clock(sources);
    const begin = clock.now();
    pass(10);
    at.wall += HOUR_MS;
    pass(5);
    at.wall -= 3 * HOUR_MS;
    expect([clock.now() - begin, clock.openFor(), clock.wall()]).toEqual([15, 15, at.wall]);
  });

  test("ageOf() of a timestamp from before a jump is the time that has passed", () => {
    const { at, sources, pass } = machine();
    const clock = new Clock(sources);
    const first = clock.wall();
    pass(1000);
    at.wall += HOUR_MS;
    const second = clock.wall();
    pass(1000);
    // It was skipped by the jump.
    expect(clock.ageOf(first + HOUR_MS / 2)).toBe(1000);
    at.wall -= 2 * HOUR_MS;
    const third = clock.wall();
    pass(1000);
    expect([first, second, third].map((stamp) => clock.ageOf(stamp))).toEqual([3000, 2000, 1000]);
    expect(clock.wallBefore(2500)).toBe(first + 500);
    expect(clock.wallBefore(1500)).toBe(second + 500);
    expect(clock.wallBefore(500)).toBe(third + 500);
    expect(clock.wallBefore(HOUR_MS)).toBe(first + 3000 - HOUR_MS);
  });

  test("continues from its saved state by the time on the wall clock since, and never goes back", () => {
    const { at, sources, pass } = machine();
    const clock = new Clock(sources);
    pass(1000);
    at.wall += HOUR_MS;
    const saved = clock.save();
    at.wall += 7000;
    at.monotonic = 5;
    expect(new Clock(sources, saved).now() - saved.timeMs).toBe(7000);
    expect(new Clock(sources, saved).openFor()).toBe(1000);
    at.wall -= 2 * HOUR_MS;
    expect(new Clock(sources, saved).now()).toBe(saved.timeMs);
  });
});

describe.each([
  ["memory", async () => memoryEngine()],
  ["disk", () => openDiskEngine({ folder: fresh() })],
])("a wall clock that is set while the %s engine is open", (_, open: () => Promise<Engine>) => {
  test.each([10_000, -10_000])("by %i ms ends no lease, and lengthens none", async (ms) => {
    await using engine = await open();
    await commitWrites(engine.keys, set("lease", "a", { ttlMs: 5000 }), set("short", "a", { ttlMs: 300 }));
    jump(ms);
    const entry = await engine.keys.get("lease");
    assert.ok(entry?.expiresAtMs !== undefined);
    const leftMs = entry.expiresAtMs - engine.clock.now();
    assert.ok(leftMs > 3000 && leftMs <= 5000, `${leftMs} ms are left`);
    const { keys } = engine;
    await vi.waitFor(async () => assert.equal(await keys.get("short"), undefined), 2000);
  });

  test.each([10_000, -10_000])("by %i ms does not change when an event comes again", async (ms) => {
    await using engine = await open();
    const events = reader(engine.topics.consume("t", "g", neverAborts()));
    await engine.topics.publish("t", [utf8("1")]);
    const beginMs = performance.now();
    await (await events.next()).retry(200);
    jump(ms);
    assert.equal((await events.next()).attempt, 2);
    const tookMs = performance.now() - beginMs;
    assert.ok(tookMs > 195 && tookMs < 3000, `${tookMs} ms`);
  });

  test("a jump ages no record; later records get its time", async () => {
    await using engine = await open();
    const { logs } = engine;
    await logs.retain("l", { maxAgeMs: HOUR_MS });
    await logs.append("l", [utf8("old")]);
    jump(25 * HOUR_MS);
    await logs.append("l", [utf8("new")]);
    assert.deepEqual(await logs.bounds("l"), { first: 1n, next: 3n });
    const [batch] = await collect(logs.read("l", 2n, { follow: false, signal: neverAborts() }));
    assert.ok(Math.abs((batch?.at(-1)?.timestampMs ?? 0) - Date.now()) < 5000);
    jump(-48 * HOUR_MS);
    await logs.append("l", [utf8("newest")]);
    assert.deepEqual(await logs.bounds("l"), { first: 1n, next: 4n });
  });

  test("a jump expires no event before its ttl", async () => {
    await using engine = await open();
    const { clock } = engine;
    const event = (ttlInSeconds: string) => {
      const expiration = new Date(clock.wall() + Number(ttlInSeconds) * 1000).toISOString();
      return { metadata: { ttlInSeconds, expiration } } as unknown as Parameters<typeof isExpired>[0];
    };
    const [long, short] = [event("60"), event("0.1")];
    jump(HOUR_MS);
    assert.equal(isExpired(long, clock), false);
    await vi.waitFor(() => assert.equal(isExpired(short, clock), true));
  });
});

describe("over a restart of the disk engine", () => {
  const leaseOf = async (engine: Engine) => {
    const entry = await engine.keys.get("lease");
    return entry && Math.round((entry.expiresAtMs ?? 0) - engine.clock.now());
  };

  test.each([
    ["the wall clock was 10 s ahead before", 10_000, 0, 5000],
    ["the wall clock was an hour behind before", -HOUR_MS, 0, 5000],
    ["it was closed for 3 s", 0, 3000, 2000],
    ["it was closed for 3 s, and the wall clock was an hour ahead before", HOUR_MS, 3000, 2000],
    ["the wall clock was set back in between", 0, -HOUR_MS, 5000],
    ["it was closed for 6 s", 0, 6000, undefined],
  ])("a lease of 5 s: %s", async (_, before, closed, left) => {
    const data = fresh();
    {
      await using engine = await openDiskEngine({ folder: data });
      await commitWrites(engine.keys, set("lease", "a", { ttlMs: 5000 }));
      jump(before);
    }
    jump(closed);
    await using engine = await openDiskEngine({ folder: data });
    const found = await leaseOf(engine);
    if (left === undefined) return assert.equal(found, undefined);
    assert.ok(found !== undefined && found <= left && found > left - 1900, `${found} ms are left`);
  });

  test("the clock's state that was stored after a jump counts, also if the process was killed", async () => {
    const data = fresh();
    const copy = fresh();
    await using engine = await openDiskEngine({ folder: data });
    await commitWrites(engine.keys, set("lease", "a", { ttlMs: 60_000 }));
    jump(HOUR_MS);
    // As often as the engine looks at it.
    await new Promise((resolve) => setTimeout(resolve, 1300));
    await cp(data, copy, { recursive: true });
    await using again = await openDiskEngine({ folder: copy });
    const found = await leaseOf(again);
    assert.ok(found !== undefined && found > 50_000 && found <= 60_000, `${found} ms are left`);
  });
});
