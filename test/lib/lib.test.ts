import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import fc from "fast-check";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { json, text } from "../../src/client/codec.js";
import { streamWithReconnect } from "../../src/client/follower/reconnect.js";
import { withRetry } from "../../src/client/retry.js";
import { ConnectionStatus } from "../../src/client/status/connection-status.js";
import { collect, reader } from "../../src/conformance/engine/reader.js";

import { abortOnBreak } from "../../src/lib/abort-on-break.js";
import { Queue } from "../../src/lib/queue.js";
import { runAfter } from "../../src/lib/timer.js";
import { compareUtf8, fromUtf8, utf8, utf8Length } from "../../src/lib/utf8.js";
import { conditional, repeatable } from "../../src/rpc/repeatable.js";
import { sleep } from "../../src/rpc/sleep.js";
import { isCollected } from "../support/gc.js";

const wellFormed = fc.string({
  unit: fc.oneof(
    fc.constantFrom("a", "\ud7ff", "\ue000", "\uffff", "😀"),
    fc
      .nat(0x10ffff)
      .filter((point) => point < 0xd800 || point > 0xdfff)
      .map((point) => String.fromCodePoint(point)),
  ),
});
const anyUnits = fc
  .array(fc.oneof(fc.nat(0xffff), fc.integer({ min: 0xd7fe, max: 0xe001 })))
  .map((units) => String.fromCharCode(...units));

describe("utf8", () => {
  test("compareUtf8() orders as the bytes do", () => {
    fc.assert(
      fc.property(wellFormed, wellFormed, wellFormed, (start, a, b) => {
        const [x, y] = [start + a, start + b];
        assert.equal(Math.sign(compareUtf8(x, y)), Buffer.compare(Buffer.from(x), Buffer.from(y)));
      }),
    );
  });

  test("compareUtf8() is a total order of all strings, and no two that differ are equal", () => {
    fc.assert(
      fc.property(anyUnits, anyUnits, anyUnits, (a, b, c) => {
        assert.equal(compareUtf8(a, b) === 0, a === b);
        assert.equal(Math.sign(compareUtf8(a, b)), -Math.sign(compareUtf8(b, a)) + 0);
        if (compareUtf8(a, b) <= 0 && compareUtf8(b, c) <= 0) assert.ok(compareUtf8(a, c) <= 0);
      }),
    );
  });

  test("utf8Length() counts the bytes, also of lone surrogates", () => {
    fc.assert(fc.property(anyUnits, (units) => assert.equal(utf8Length(units), Buffer.byteLength(units))));
    assert.equal(utf8Length("\ud83d"), 3);
    assert.equal(utf8Length("\ude00\ud83d"), 6);
    assert.equal(utf8Length("😀"), 4);
  });

  test("fromUtf8() gives back what utf8() was given, a byte order mark too", () => {
    fc.assert(fc.property(wellFormed, (one) => assert.equal(fromUtf8(utf8(one)), one)));
    assert.equal(fromUtf8(utf8("\ufefftext")), "\ufefftext");
    assert.equal(text().decode(text().encode("\ufefftext")), "\ufefftext");
    assert.deepEqual(json().decode(utf8('\ufeff{"a":1}')), { a: 1 });
  });
});

describe("queue", () => {
  test("gives what was pushed before and while it is read, in order, and ends after the last", async () => {
    const queue = new Queue<number>();
    queue.push(1);
    queue.push(2);
    const read = collect(queue);
    await Promise.resolve();
    queue.push(3);
    queue.end();
    queue.push(4);
    assert.deepEqual(await read, [1, 2, 3]);
    assert.equal(queue.ended, true);
  });

  test("keeps the order of 100,000, and tells how many wait", async () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 100_000; i++) queue.push(i);
    assert.equal(queue.size, 100_000);
    queue.end();
    const numbers = await collect(queue);
    assert.ok(numbers.every((number, i) => number === i));
    assert.deepEqual([numbers.length, queue.size], [100_000, 0]);
  });

  test("fail() throws once, after what is there", async () => {
    const queue = new Queue<number>();
    const broken = new Error("broken");
    queue.push(1);
    queue.fail(broken);
    queue.end();
    const read = reader(queue);
    assert.equal(await read.next(), 1);
    await assert.rejects(read.next(), broken);
    assert.deepEqual(await collect(queue), []);
  });

  test("fail() throws at a reader that waits", async () => {
    const queue = new Queue<number>();
    const read = assert.rejects(collect(queue), /broken/);
    queue.fail(new Error("broken"));
    await read;
  });

  test("leaving calls onLeave once and drops the rest", async () => {
    let left = 0;
    const queue = new Queue<number>(() => left++);
    queue.push(1);
    queue.push(2);
    for await (const number of queue) {
      assert.equal(number, 1);
      break;
    }
    queue.push(3);
    assert.deepEqual(await collect(queue), []);
    assert.deepEqual([left, queue.ended, queue.size], [1, true, 0]);
  });

  test("reading to the end calls onLeave as well", async () => {
    let left = 0;
    const queue = new Queue<number>(() => left++);
    queue.end();
    await collect(queue);
    assert.equal(left, 1);
  });

  test("a reader may leave before its first step, and while it waits", async () => {
    let left = 0;
    const unread = new Queue<number>(() => left++);
    await unread[Symbol.asyncIterator]().return?.();
    assert.deepEqual([left, unread.ended], [1, true]);
    const waits = new Queue<number>(() => left++);
    const iterator = waits[Symbol.asyncIterator]();
    const next = iterator.next();
    await iterator.return?.();
    assert.equal((await next).done, true);
    assert.equal(left, 2);
  });

  test("two readers share the items, lose none and end together", async () => {
    const queue = new Queue<number>();
    const reads = [collect(queue), collect(queue)];
    for (let i = 0; i < 10; i++) {
      queue.push(i);
      await Promise.resolve();
    }
    queue.end();
    const [a = [], b = []] = await Promise.all(reads);
    assert.deepEqual(
      [...a, ...b].sort((x, y) => x - y),
      Array.from({ length: 10 }, (_, i) => i),
    );
  });

  test("what was read is garbage, though the rest waits", async () => {
    const queue = new Queue<object>();
    const read = reader(queue);
    const gone = await isCollected(async (watch) => {
      for (let i = 0; i < 10; i++) queue.push(watch({ i }));
      queue.push({});
      await read.take(10);
    });
    assert.equal(gone, true);
    assert.equal(queue.size, 1);
  });
});

describe("timer", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const MONTH_MS = 30 * 24 * 3_600_000;

  test("after() runs its task once, after delays of any length", async () => {
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

  test("after() of a negative delay runs next, of an endless one never", async () => {
    let runs = 0;
    runAfter(-5, () => runs++);
    runAfter(Number.POSITIVE_INFINITY, () => runs++);
    await vi.advanceTimersByTimeAsync(3 * MONTH_MS);
    assert.equal(runs, 1);
  });

  test("after() that is called off does not run, in its later parts neither", async () => {
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

  test("sleep() rejects as canceled when its signal aborts, before or meanwhile, and leaves no timer", async () => {
    await assert.rejects(sleep(10, AbortSignal.abort()), { code: Code.Canceled });
    const enough = new AbortController();
    const slept = assert.rejects(sleep(10, enough.signal), { code: Code.Canceled });
    enough.abort();
    await slept;
    assert.equal(vi.getTimerCount(), 0);
  });
});

test("after() does not keep a Node process alive", () => {
  const timers = vi.spyOn(globalThis, "setTimeout");
  const callOff = runAfter(60_000, () => {});
  const timer = timers.mock.results[0]?.value as NodeJS.Timeout | undefined;
  assert.equal(timer?.hasRef(), false);
  callOff();
  timers.mockRestore();
});

describe("abortOnBreak", () => {
  /** A stream that goes on until its signal aborts, and then throws the reason. */
  const stream = (seen: AbortSignal[]) =>
    async function* (signal: AbortSignal) {
      seen.push(signal);
      for (let i = 0; !signal.aborted; i++) yield i;
      throw signal.reason;
    };

  test("aborts the stream's signal when the loop is left, and leaves no listener", async () => {
    const seen: AbortSignal[] = [];
    const { signal } = new AbortController();
    for await (const i of abortOnBreak(stream(seen), signal)) {
      assert.equal(seen[0]?.aborted, false);
      if (i === 2) break;
    }
    assert.equal(seen[0]?.aborted, true);
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });

  test("hands the caller's abort on with its reason, also one that came before", async () => {
    const reason = new Error("enough");
    const seen: AbortSignal[] = [];
    const enough = new AbortController();
    const read = reader(abortOnBreak(stream(seen), enough.signal));
    await read.next();
    enough.abort(reason);
    await assert.rejects(read.next(), reason);
    await assert.rejects(reader(abortOnBreak(stream(seen), enough.signal)).next(), reason);
    assert.equal(seen[1]?.reason, reason);
  });

  test("opens nothing before it is read, and frees what fails to open", async () => {
    const opened: AbortSignal[] = [];
    const streamed = abortOnBreak<number>((signal) => {
      opened.push(signal);
      throw new Error("refused");
    });
    assert.equal(opened.length, 0);
    await assert.rejects(collect(streamed), /refused/);
    assert.equal(opened[0]?.aborted, true);
  });
});

const unavailable = (retryAfterMs?: number): ConnectError => {
  const error = new ConnectError("away", Code.Unavailable);
  if (retryAfterMs !== undefined) {
    const retryDelay = {
      seconds: BigInt(Math.floor(retryAfterMs / 1000)),
      nanos: (retryAfterMs % 1000) * 1e6,
    };
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return error;
};

describe("resuming", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  type Opening = { items?: number[]; lastsMs?: number; error?: unknown };

  /** Opens one stream after the other as `openings` say, and notes when. */
  function script(openings: Opening[], signal = new AbortController().signal) {
    const openedMs: number[] = [];
    const startMs = Date.now();
    const stream = streamWithReconnect<number>(
      async function* (inner) {
        const { items = [], lastsMs = 0, error } = openings[openedMs.length] ?? {};
        openedMs.push(Date.now() - startMs);
        yield* items;
        if (lastsMs > 0) await sleep(lastsMs, inner);
        if (error) throw error;
      },
      signal,
      new ConnectionStatus(),
    );
    return { openedMs, stream };
  }

  test("opens again when the connection is lost, and ends when the stream does", async () => {
    const { openedMs, stream } = script([
      { items: [1, 2], error: unavailable() },
      { error: unavailable() },
      { items: [3] },
    ]);
    const read = collect(stream);
    await vi.runAllTimersAsync();
    assert.deepEqual(await read, [1, 2, 3]);
    assert.equal(openedMs.length, 3);
  });

  test("throws any other error at once", async () => {
    for (const error of [new ConnectError("no", Code.PermissionDenied), new Error("bug")]) {
      const { openedMs, stream } = script([{ items: [1], error }]);
      await assert.rejects(collect(stream), error);
      assert.equal(openedMs.length, 1);
    }
  });

  test("waits longer with each failure, up to 10 s, and begins anew after a message", async () => {
    const failing = Array.from({ length: 9 }, () => ({ error: unavailable() }));
    const { openedMs, stream } = script([
      ...failing,
      { items: [1], error: unavailable() },
      { error: unavailable() },
      {},
    ]);
    const read = collect(stream);
    await vi.runAllTimersAsync();
    await read;
    const waits = openedMs.slice(1).map((ms, i) => Math.ceil((ms - (openedMs[i] ?? 0)) / 10) * 10);
    assert.deepEqual(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 100, 200]);
  });

  test("begins anew after a stream that lasted, though it told nothing", async () => {
    const lasting = Array.from({ length: 5 }, () => ({ lastsMs: 60_000, error: unavailable() }));
    const { openedMs, stream } = script([...lasting, {}]);
    const read = collect(stream);
    await vi.runAllTimersAsync();
    await read;
    for (const [i, ms] of openedMs.slice(1).entries()) assert.ok(ms - (openedMs[i] ?? 0) <= 60_100);
  });

  test("waits as long as the server asks", async () => {
    const { openedMs, stream } = script([{ error: unavailable(7000) }, {}]);
    const read = collect(stream);
    await vi.runAllTimersAsync();
    await read;
    assert.equal(openedMs[1], 7000);
  });

  test("a connection that is lost as its signal aborts is told as canceled", async () => {
    const enough = new AbortController();
    const stream = streamWithReconnect<number>(
      async function* () {
        yield 1;
        enough.abort();
        throw unavailable();
      },
      enough.signal,
      new ConnectionStatus(),
    );
    await assert.rejects(collect(stream), { code: Code.Canceled });
  });

  test("an abort ends the wait between two tries, and the stream, as canceled", async () => {
    for (const opening of [{ error: unavailable() }, { lastsMs: 60_000 }]) {
      const enough = new AbortController();
      const { openedMs, stream } = script([opening], enough.signal);
      const read = assert.rejects(collect(stream), { code: Code.Canceled });
      await vi.advanceTimersByTimeAsync(10);
      enough.abort();
      await read;
      assert.deepEqual([openedMs.length, vi.getTimerCount()], [1, 0]);
    }
  });
});

describe("withRetry", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.spyOn(Math, "random").mockReturnValue(0.999_999);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  type Answer = ConnectError | "ok";

  /** A transport that answers as `answers` say, the last one for ever, and what it was asked. */
  function scripted(...answers: Answer[]) {
    const tries: { atMs: number; timeoutMs: number | undefined }[] = [];
    const startMs = Date.now();
    const transport: Transport = {
      async unary(_method, _signal, timeoutMs) {
        const answer = answers[Math.min(tries.length, answers.length - 1)];
        tries.push({ atMs: Date.now() - startMs, timeoutMs });
        if (answer !== "ok") throw answer;
        return "ok" as never;
      },
      stream: () => Promise.reject(unavailable()),
    };
    return { transport, tries };
  }

  const { getState, saveState, saveConfiguration } = Runtime.method;
  type Method = typeof getState | typeof saveState | typeof saveConfiguration;
  type CallOf = { signal?: AbortSignal; timeoutMs?: number; values?: ReturnType<typeof conditional> };

  async function call(transport: Transport, method: Method, { signal, timeoutMs, values }: CallOf = {}) {
    const answer = transport.unary(method as typeof getState, signal, timeoutMs, undefined, {}, values);
    const settled = answer.then(
      () => "ok",
      (error: unknown) => error,
    );
    await vi.runAllTimersAsync();
    return settled;
  }

  test("tries reads and idempotent writes again, up to maxAttempts", async () => {
    for (const method of [getState, saveConfiguration]) {
      const { transport, tries } = scripted(unavailable(), unavailable(), "ok");
      assert.equal(await call(withRetry(transport), method), "ok");
      assert.equal(tries.length, 3);
    }
    const error = unavailable();
    const { transport, tries } = scripted(error);
    assert.equal(await call(withRetry(transport, { maxAttempts: 3 }), getState), error);
    assert.equal(tries.length, 3);
  });

  test("never tries a write again that may then happen twice", async () => {
    const error = unavailable();
    const { transport, tries } = scripted(error, "ok");
    assert.equal(await call(withRetry(transport), saveState), error);
    assert.equal(tries.length, 1);
  });

  test("tries a write again that is conditional, repeatable, or where all calls may", async () => {
    for (const values of [conditional(), repeatable()]) {
      const { transport, tries } = scripted(unavailable(), "ok");
      assert.equal(await call(withRetry(transport), saveState, { values }), "ok");
      assert.equal(tries.length, 2);
    }
    const { transport } = scripted(unavailable(), "ok");
    assert.equal(await call(withRetry(transport, { calls: "all" }), saveState), "ok");
  });

  test("tries nothing again but what is unavailable", async () => {
    for (const code of [
      Code.Aborted,
      Code.DeadlineExceeded,
      Code.ResourceExhausted,
      Code.Internal,
      Code.Canceled,
    ]) {
      const error = new ConnectError("no", code);
      const { transport, tries } = scripted(error, "ok");
      assert.equal(await call(withRetry(transport, { calls: "all" }), getState), error);
      assert.equal(tries.length, 1);
    }
  });

  test("a conflict after a first try whose outcome is unknown is told as that first failure", async () => {
    const first = unavailable();
    const conflict = new ConnectError("etag", Code.Aborted);
    const lost = scripted(first, conflict);
    assert.equal(await call(withRetry(lost.transport), saveState, { values: conditional() }), first);
    const again = scripted(first, conflict);
    assert.equal(await call(withRetry(again.transport), saveState, { values: repeatable() }), conflict);
    const met = scripted(conflict);
    assert.equal(await call(withRetry(met.transport), saveState, { values: conditional() }), conflict);
  });

  test("waits a random time below a bound that doubles up to maxDelayMs", async () => {
    const { transport, tries } = scripted(unavailable());
    await call(withRetry(transport, { maxAttempts: 6, minDelayMs: 100, maxDelayMs: 500 }), getState);
    const waits = tries.slice(1).map(({ atMs }, i) => Math.ceil((atMs - (tries[i]?.atMs ?? 0)) / 10) * 10);
    assert.deepEqual(waits, [100, 200, 400, 500, 500]);
    vi.mocked(Math.random).mockReturnValue(0.5);
    const half = scripted(unavailable(), "ok");
    await call(withRetry(half.transport, { minDelayMs: 100 }), getState);
    assert.equal(half.tries[1]?.atMs, 50);
  });

  test("waits as long as the server asks", async () => {
    const { transport, tries } = scripted(unavailable(5000), "ok");
    await call(withRetry(transport), getState);
    assert.equal(tries[1]?.atMs, 5000);
  });

  test("gives each try what is left of the deadline, and tells the failure rather than wait past it", async () => {
    const error = unavailable();
    const { transport, tries } = scripted(error);
    const options = { minDelayMs: 100, maxAttempts: 10 };
    assert.equal(await call(withRetry(transport, options), getState, { timeoutMs: 500 }), error);
    assert.equal(tries.length, 3);
    for (const { atMs, timeoutMs } of tries) assert.equal(timeoutMs, 500 - atMs);
  });

  test("leaves no deadline as it is: 0 and less mean none", async () => {
    for (const timeoutMs of [undefined, 0, -1]) {
      const { transport, tries } = scripted(unavailable(), unavailable(), "ok");
      assert.equal(
        await call(withRetry(transport), getState, timeoutMs === undefined ? {} : { timeoutMs }),
        "ok",
      );
      assert.deepEqual(
        tries.map((one) => one.timeoutMs),
        [timeoutMs, timeoutMs, timeoutMs],
      );
    }
  });

  test("an abort ends the wait as canceled", async () => {
    const enough = new AbortController();
    const { transport, tries } = scripted(unavailable(60_000));
    const answer = withRetry(transport).unary(getState, enough.signal, undefined, undefined, {});
    const canceled = assert.rejects(answer, { code: Code.Canceled });
    await vi.advanceTimersByTimeAsync(1000);
    enough.abort();
    await canceled;
    assert.deepEqual([tries.length, vi.getTimerCount()], [1, 0]);
  });

  test("stops trying again when most calls fail, and begins again when they succeed", async () => {
    const answers: Answer[] = [];
    const { transport, tries } = scripted(...answers, unavailable());
    const retrying = withRetry(transport, { maxAttempts: 2 });
    for (let i = 0; i < 30; i++) await call(retrying, getState);
    assert.equal(tries.length, 30 + 10);
    let healthy = false;
    const recovering = withRetry(
      {
        ...transport,
        unary: (...args) => (healthy ? Promise.resolve("ok" as never) : transport.unary(...args)),
      },
      { maxAttempts: 2 },
    );
    for (let i = 0; i < 30; i++) await call(recovering, getState);
    healthy = true;
    for (let i = 0; i < 200; i++) await call(recovering, getState);
    healthy = false;
    const before = tries.length;
    for (let i = 0; i < 5; i++) await call(recovering, getState);
    assert.equal(tries.length - before, 10);
  });

  test("does not touch streams", async () => {
    let streams = 0;
    const { transport } = scripted("ok");
    const counted: Transport = {
      ...transport,
      stream: () => Promise.reject(new Error(`stream ${++streams}`)),
    };
    const stream = withRetry(counted, { calls: "all" }).stream(
      getState as never,
      undefined,
      undefined,
      undefined,
      [] as never,
    );
    await assert.rejects(stream, /stream 1/);
  });
});
