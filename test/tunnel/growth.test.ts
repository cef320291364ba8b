import assert from "node:assert/strict";
import { afterEach, test, vi } from "vitest";
import type { PairOptions } from "../../src/tunnel/socket/pair.js";
import { blob, openEnds, turns } from "./ends.js";

afterEach(() => {
  vi.useRealTimers();
});

/** The most bytes of an upload that were sent and not yet read: its window, if the upload waits for credit. */
async function windowFor(net: PairOptions, messages: number, readMs: number): Promise<number> {
  // Fake timers: the result must not depend on the load of the machine.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  let read = 0;
  const ends = openEnds(
    {},
    {
      serves: {
        async client(input) {
          for await (const { value } of input) {
            read += value.length;
            if (readMs > 0) await new Promise((resolve) => setTimeout(resolve, readMs));
          }
          return {};
        },
      },
    },
    net,
  );
  let sent = 0;
  ends.dialler.seen.onMessage = (bytes) => {
    sent += bytes.length;
  };
  const asks = async function* () {
    for (let i = 0; i < messages; i++) yield blob(64 * 1024);
  };
  let most = 0;
  // The second upload begins after the windows have grown.
  for (const times of [1, 2]) {
    let isDone = false;
    const upload = ends.dialler.client.client(asks()).finally(() => {
      isDone = true;
    });
    while (!isDone) {
      vi.advanceTimersByTime(1);
      await turns(2);
      most = Math.max(most, sent - read);
    }
    await upload;
    assert.equal(read, times * messages * 64 * 1024);
  }
  ends.close();
  return most;
}

test("a window grows up to its limit if the round trip is long", async () => {
  const most = await windowFor({ delayMs: 50 }, 625, 0);
  assert(most > 1024 * 1024 && most <= 4.2 * 1024 * 1024, `${most} bytes`);
});

test("a window does not grow if the reader is slow", async () => {
  const most = await windowFor({ delayMs: 1 }, 100, 5);
  assert(most > 200 * 1024 && most <= 350 * 1024, `${most} bytes`);
});
