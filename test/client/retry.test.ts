import assert from "node:assert/strict";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { withRetry } from "../../src/client/retry.js";
import { conditional, repeatable } from "../../src/rpc/repeatable.js";
import { unavailable } from "../support/unavailable.js";

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

  test("retries reads and idempotent writes, up to maxAttempts", async () => {
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

  test("does not retry a write that could then take effect twice", async () => {
    const error = unavailable();
    const { transport, tries } = scripted(error, "ok");
    assert.equal(await call(withRetry(transport), saveState), error);
    assert.equal(tries.length, 1);
  });

  test('retries a write that is conditional or repeatable, and all calls with calls: "all"', async () => {
    for (const values of [conditional(), repeatable()]) {
      const { transport, tries } = scripted(unavailable(), "ok");
      assert.equal(await call(withRetry(transport), saveState, { values }), "ok");
      assert.equal(tries.length, 2);
    }
    const { transport } = scripted(unavailable(), "ok");
    assert.equal(await call(withRetry(transport, { calls: "all" }), saveState), "ok");
  });

  test("retries only unavailable", async () => {
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

  test("throws the first error if a conflict follows an attempt with an unknown outcome", async () => {
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

  test("gives each attempt the rest of the deadline, and throws the error rather than wait past it", async () => {
    const error = unavailable();
    const { transport, tries } = scripted(error);
    const options = { minDelayMs: 100, maxAttempts: 10 };
    assert.equal(await call(withRetry(transport, options), getState, { timeoutMs: 500 }), error);
    assert.equal(tries.length, 3);
    for (const { atMs, timeoutMs } of tries) assert.equal(timeoutMs, 500 - atMs);
  });

  test("keeps a timeoutMs of 0 or less, which means no deadline", async () => {
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

  test("an abort ends the delay as canceled", async () => {
    const enough = new AbortController();
    const { transport, tries } = scripted(unavailable(60_000));
    const answer = withRetry(transport).unary(getState, enough.signal, undefined, undefined, {});
    const canceled = assert.rejects(answer, { code: Code.Canceled });
    await vi.advanceTimersByTimeAsync(1000);
    enough.abort();
    await canceled;
    assert.deepEqual([tries.length, vi.getTimerCount()], [1, 0]);
  });

  test("stops retrying when most calls fail, and resumes when they succeed", async () => {
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

  test("does not retry streams", async () => {
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
