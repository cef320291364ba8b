import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, test, vi } from "vitest";
import { type ServerAttempt, ServerList } from "../../../src/transport/failover/server-list.js";

const A = "http://a";
const B = "http://b";
const C = "http://c";
const D = "http://d";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const refused = new ConnectError("cannot reach a: connect ECONNREFUSED", Code.Unavailable);

/** The server that calls use now; it must be one that can be used at once. */
function used(list: ServerList): ServerAttempt {
  const attempt = list.pick([]);
  assert.ok(attempt);
  return attempt;
}

/** How many of `many` items are each of their kinds. */
function counts(many: string[]): Record<string, number> {
  const result: Record<string, number> = {};
  for (const one of many) result[one] = (result[one] ?? 0) + 1;
  return result;
}

function assertAbout(count: number | undefined, expected: number): void {
  assert.ok(count !== undefined && Math.abs(count - expected) < expected / 2, `${count}, not ${expected}`);
}

test("clients begin with a random server each, and stay with it", () => {
  const lists = Array.from({ length: 400 }, () => new ServerList([A, B, C, D]));
  const first = lists.map((list) => used(list).url);
  const byServer = counts(first);
  for (const url of [A, B, C, D]) assertAbout(byServer[url], 100);
  for (const list of lists) used(list).succeeded();
  assert.deepEqual(
    lists.map((list) => used(list).url),
    first,
  );
});

test("the clients of a lost server spread over all others, and over the time of 200 ms", () => {
  const atMs: number[] = [];
  const next: string[] = [];
  for (let i = 0; i < 600; i++) {
    const list = new ServerList([A, B, C]);
    const attempt = used(list);
    attempt.succeeded();
    if (attempt.url !== A) continue;
    attempt.failed(refused);
    const lostMs = performance.now();
    while (!list.pick([])) vi.advanceTimersByTime(1);
    atMs.push(performance.now() - lostMs);
    next.push(used(list).url);
  }
  const { [A]: none, [B]: toB, [C]: toC } = counts(next);
  assert.equal(none, undefined);
  assertAbout(toB, next.length / 2);
  assertAbout(toC, next.length / 2);
  // Each quarter of the time has its share.
  const quarters = counts(atMs.map((ms) => `${Math.floor((Math.max(ms, 1) - 1) / 50)}`));
  assert.deepEqual(Object.keys(quarters).sort(), ["0", "1", "2", "3"]);
  for (const count of Object.values(quarters)) assertAbout(count, atMs.length / 4);
});

test("a server that never answered, or refuses work, is left at once", () => {
  for (const leave of ["failed", "refused"] as const) {
    const list = new ServerList([A, B]);
    const attempt = used(list);
    if (leave === "refused") attempt.succeeded();
    attempt[leave](refused);
    assert.notEqual(used(list).url, attempt.url);
  }
});

test("a server that failed is avoided for a random time below a bound that doubles up to 10 s", () => {
  for (const random of [0.999_999, 0.5]) {
    vi.spyOn(Math, "random").mockReturnValue(random);
    const list = new ServerList([A]);
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      used(list).failed(refused);
      const startMs = performance.now();
      while (!list.pick([])) vi.advanceTimersByTime(10);
      waits.push(Math.round((performance.now() - startMs) / random / 100) * 100);
    }
    assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    used(list).succeeded();
    used(list).failed(refused);
    vi.advanceTimersByTime(200);
    assert.ok(list.pick([]));
  }
});

test("calls that began before a failure was noted are the same failure", () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  const list = new ServerList([A]);
  const calls = Array.from({ length: 64 }, () => used(list));
  for (const call of calls) call.failed(refused);
  vi.advanceTimersByTime(200);
  assert.ok(list.pick([]));
  // Nor does an answer to one of them show that the server is back.
  const [late] = calls;
  used(list).failed(refused);
  late?.succeeded();
  assert.equal(list.pick([]), undefined);
});

test("one call tries each server once; then its error names all, and what each said", async () => {
  const list = new ServerList([A, B, C]);
  const tried: ServerAttempt[] = [];
  for (let attempt = list.pick(tried); attempt; attempt = list.pick(tried)) {
    tried.push(attempt);
    const text = `cannot reach ${new URL(attempt.url).host}: said by ${attempt.url}`;
    attempt.failed(new ConnectError(text, Code.Unavailable));
  }
  assert.deepEqual(tried.map(({ url }) => url).sort(), [A, B, C]);
  await assert.rejects(list.wait(tried), (error: ConnectError) => {
    assert.equal(error.code, Code.Unavailable);
    const expected =
      "cannot reach any of 3 servers: http://a: said by http://a; http://b: said by http://b; " +
      "http://c: said by http://c";
    assert.ok(error.rawMessage.startsWith(expected), error.rawMessage);
    return true;
  });
});

test("a call waits for a server that may be tried soon, not longer than a second, and not past its deadline", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  const list = new ServerList([A]);
  used(list).failed(refused);
  await assert.rejects(list.wait([], { timeoutMs: 100 }), /next attempt is possible in 200 ms/);
  const startMs = performance.now();
  const waiting = list.wait([], { timeoutMs: 60_000 });
  await vi.advanceTimersByTimeAsync(1000);
  const attempt = await waiting;
  assert.ok(performance.now() - startMs >= 200);
  attempt.failed(refused);
  vi.advanceTimersByTime(400);
  used(list).failed(refused);
  vi.advanceTimersByTime(800);
  used(list).failed(refused);
  await assert.rejects(
    list.wait([]),
    /http:\/\/a: connect ECONNREFUSED; the next attempt is possible in 1600 ms/,
  );
});

test("an abort ends the wait as canceled", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  const list = new ServerList([A]);
  used(list).failed(refused);
  const enough = new AbortController();
  const waiting = assert.rejects(list.wait([], { signal: enough.signal }), { code: Code.Canceled });
  enough.abort();
  await waiting;
});

test("a call whose deadline is too short to wait for its turn uses the next server at once", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  const list = new ServerList([A, B]);
  const attempt = used(list);
  attempt.succeeded();
  attempt.failed(refused);
  assert.equal(list.pick([]), undefined);
  const next = await list.wait([], { timeoutMs: 50 });
  assert.notEqual(next.url, attempt.url);
});

test("if the network is back, servers that failed before are tried at once", () => {
  const events = new EventTarget();
  vi.stubGlobal("addEventListener", events.addEventListener.bind(events));
  vi.stubGlobal("removeEventListener", events.removeEventListener.bind(events));
  vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  const list = new ServerList([A]);
  used(list).failed(refused);
  assert.equal(list.pick([]), undefined);
  events.dispatchEvent(new Event("online"));
  assert.ok(list.pick([]));
  vi.unstubAllGlobals();
});
