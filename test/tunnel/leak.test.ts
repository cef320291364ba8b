import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { isCollected } from "../support/gc.js";
import { blob, openEnds, turns } from "./ends.js";
import { memoryInUse } from "./memory-in-use.js";

test("100 000 calls leak no memory, at either end", { timeout: 120_000 }, async () => {
  const { dialler, acceptor, close } = openEnds(
    {},
    {
      serves: {
        unary: (ask) => ask,
        async *bidi(input) {
          for await (const ask of input) yield ask;
        },
      },
    },
  );
  const one = async (i: number) => {
    if (i % 100 === 1) {
      const stop = new AbortController();
      const call = dialler.client.unary(blob(16), { signal: stop.signal });
      stop.abort();
      await assert.rejects(call, { code: Code.Canceled });
    } else if (i % 100 === 2) {
      const asks = async function* () {
        yield blob(16);
      };
      for await (const { value } of dialler.client.bidi(asks())) assert.equal(value.length, 16);
    } else {
      await dialler.client.unary(blob(16), { timeoutMs: 60_000 });
    }
  };
  const many = async (count: number) => {
    for (let i = 0; i < count; i += 100) await Promise.all(Array.from({ length: 100 }, (_, n) => one(n)));
  };
  await many(10_000);
  await turns(50);
  const before = await memoryInUse();
  await many(100_000);
  await turns(50);
  const grown = (await memoryInUse()) - before;
  assert(grown < 2 * 1024 * 1024, `${grown} bytes more are held`);
  assert(dialler.session.isIdle && acceptor.session.isIdle);
  assert.deepEqual([dialler.seen.open, acceptor.seen.open], [[], []]);
  close();
});

test("calls that are canceled while nothing can be written leak no memory", async () => {
  const { dialler, close } = openEnds(
    {},
    {
      limits: { connectionWindow: 256 * 1024 },
      serves: { unary: (ask) => ask, client: () => new Promise(() => {}) },
    },
  );
  await dialler.ready;
  const full = new AbortController();
  const asks = async function* () {
    for (;;) yield blob(16_000);
  };
  const uploads = [1, 2, 3, 4, 5].map(() =>
    assert.rejects(dialler.client.client(asks(), { signal: full.signal }), { code: Code.Canceled }),
  );
  await turns(40);
  const isGone = await isCollected(async (watch) => {
    for (let i = 0; i < 100; i++) {
      const stop = new AbortController();
      const ask = blob(100);
      watch(stop);
      const call = dialler.client.unary(ask, { signal: stop.signal });
      await turns(1);
      stop.abort();
      await assert.rejects(call, { code: Code.Canceled });
    }
  });
  assert(isGone, "calls are still held");
  full.abort();
  await Promise.all(uploads);
  close();
});
