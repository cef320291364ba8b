import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, test } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { abortOnBreak } from "../../src/lib/abort-on-break.js";

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

  test("passes the caller's abort and its reason on, even an abort before the first step", async () => {
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

  test("opens nothing before the first step, and aborts the signal if opening fails", async () => {
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
