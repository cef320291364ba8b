import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, test, vi } from "vitest";
import { streamWithReconnect } from "../../src/client/follower/reconnect.js";
import { ConnectionStatus } from "../../src/client/status/connection-status.js";
import { collect } from "../../src/conformance/engine/reader.js";
import { sleep } from "../../src/rpc/sleep.js";
import { unavailable } from "../support/unavailable.js";

describe("streamWithReconnect", () => {
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

  test("reopens when the connection is lost, and ends when the stream ends", async () => {
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

  test("waits longer with each failure, up to 10 s, and resets the delay after a message", async () => {
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

  test("resets the delay after a stream that stayed open without messages", async () => {
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

  test("throws canceled for a connection that is lost when its signal aborts", async () => {
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

  test("an abort ends the delay between two attempts, and the stream, as canceled", async () => {
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
