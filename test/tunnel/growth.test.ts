import assert from "node:assert/strict";
import { afterEach, test, vi } from "vitest";
import type { PairOptions } from "../../src/tunnel/pair.js";
import { blob, openEnds, turns } from "./ends.js";

afterEach(() => {
  vi.useRealTimers();
});

/** How many bytes of an upload of 40 MB are under way at most: its window, where it is that which it waits for. */
async function windowFor(net: PairOptions): Promise<number> {
  // Time passes when the test says so, however busy the machine is.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  const ends = openEnds({}, { serves: { client: async (input) => blob(await count(input)) } }, net);
  let isDone = false;
  const asks = async function* () {
    for (let i = 0; i < 625; i++) yield blob(64 * 1024);
  };
  const upload = ends.dialler.client.client(asks()).finally(() => {
    isDone = true;
  });
  let most = 0;
  while (!isDone) {
    vi.advanceTimersByTime(1);
    await turns(2);
    most = Math.max(most, ends.net.underWay[1]);
  }
  assert.equal((await upload).value.length, 625);
  assert(ends.acceptor.seen.granted <= 16 * 1024 * 1024);
  ends.close();
  return most;
}

async function count(input: AsyncIterable<unknown>): Promise<number> {
  let messages = 0;
  for await (const _ of input) messages++;
  return messages;
}

test("a window grows where the round trip is long, up to its limit", async () => {
  const most = await windowFor({ delayMs: 50 });
  assert(most > 1024 * 1024 && most <= 4.1 * 1024 * 1024, `${most} bytes`);
});

test("a window stays as it is where the round trip is short", async () => {
  const most = await windowFor({});
  assert(most <= 260 * 1024, `${most} bytes`);
});
