import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { createClient, type Fairlead } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { sleep } from "../../src/rpc/sleep.js";
import { createWebTransport } from "../../src/web.js";
import { openInProcess, overHttp, type TestServer } from "../support/protocols.js";
import { until } from "../support/until.js";

/** The number of open streams on the server. */
async function streamsOpen({ server }: TestServer): Promise<number> {
  const { body } = await server.metrics(null);
  const counts = [...String(body).matchAll(/^fairlead_streams_open\{.*\} (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

type Loop = AsyncIterator<unknown, unknown, undefined>;

/** Loops over streams of the server, which do not end by themselves. */
const STREAMS: Record<string, (fl: Fairlead, signal?: AbortSignal) => Loop> = {
  "log.read()": (fl, signal) => fl.log().read({ ...(signal && { signal }) }),
  "pubsub.subscribe()": (fl, signal) => fl.pubsub().subscribe("orders", { ...(signal && { signal }) }),
};

/** Loops without a stream of their own, which do not end by themselves. */
const CHANGES: Record<string, (fl: Fairlead, signal?: AbortSignal) => Promise<Loop>> = {
  "changes() of a configuration": async (fl, signal) => {
    const open = await fl.configuration().open({ fallback: { a: "b" } });
    return open.changes({ ...(signal && { signal }) })[Symbol.asyncIterator]();
  },
  "changes() of a gossip map": async (fl, signal) => {
    const map = await fl.openGossipMap("m");
    return map.changes({ ...(signal && { signal }) })[Symbol.asyncIterator]();
  },
  "changes() of a status": async (fl, signal) => {
    const { status } = await fl.openGossipMap("m");
    return status.changes({ ...(signal && { signal }) });
  },
};

const WAYS = [
  { name: "HTTP/2", open: overHttp((url) => createNodeTransport(url)), duplex: true },
  { name: "the tunnel", open: overHttp((url) => createTunnelTransport(url)), duplex: true },
  { name: "fetch", open: overHttp((url) => createWebTransport(url)), duplex: false },
  { name: "in process", open: openInProcess, duplex: true },
];

describe.each(WAYS)("over $name", ({ open, duplex }) => {
  const streams = Object.entries(STREAMS).filter(([name]) => duplex || name === "log.read()");

  describe.each(streams)("%s", (_, loopOf) => {
    test("return() while next() waits ends the wait and frees the server", async () => {
      await using at = await open();
      await using fl = createClient(at.transport, { closeTransport: false });
      const loop = loopOf(fl);
      const step = loop.next();
      await until(async () => (await streamsOpen(at)) === 1);
      const leftAtMs = performance.now();
      const left = loop.return?.();
      assert.deepEqual(await step, { value: undefined, done: true });
      await left;
      await until(async () => (await streamsOpen(at)) === 0);
      assert.ok(performance.now() - leftAtMs < 1000);
      assert.deepEqual(await loop.next(), { value: undefined, done: true });
    });

    test("throw() does the same, and rejects with its argument", async () => {
      await using at = await open();
      await using fl = createClient(at.transport, { closeTransport: false });
      const loop = loopOf(fl);
      const step = loop.next();
      await until(async () => (await streamsOpen(at)) === 1);
      await assert.rejects(async () => loop.throw?.(new Error("enough")), { message: "enough" });
      assert.deepEqual(await step, { value: undefined, done: true });
      await until(async () => (await streamsOpen(at)) === 0);
    });

    test("a loop that lost a race is left in the same way", async () => {
      await using at = await open();
      await using fl = createClient(at.transport, { closeTransport: false });
      const loop = loopOf(fl);
      const first = await Promise.race([loop.next(), sleep(100).then(() => "late")]);
      assert.equal(first, "late");
      await loop.return?.();
      await until(async () => (await streamsOpen(at)) === 0);
    });

    test("return() before the first next() opens nothing", async () => {
      await using at = await open();
      await using fl = createClient(at.transport, { closeTransport: false });
      const loop = loopOf(fl);
      assert.deepEqual(await loop.return?.(), { value: undefined, done: true });
      assert.deepEqual(await loop.next(), { value: undefined, done: true });
      assert.equal(await streamsOpen(at), 0);
    });

    test("an abort still throws", async () => {
      await using at = await open();
      await using fl = createClient(at.transport, { closeTransport: false });
      const enough = new AbortController();
      const step = loopOf(fl, enough.signal).next();
      await until(async () => (await streamsOpen(at)) === 1);
      enough.abort();
      await assert.rejects(step, { code: Code.Canceled });
      await until(async () => (await streamsOpen(at)) === 0);
    });
  });
});

describe.each(Object.entries(CHANGES))("%s", (_, loopOf) => {
  test("return() while next() waits ends the wait", async () => {
    await using at = await openInProcess();
    await using fl = createClient(at.transport);
    const loop = await loopOf(fl);
    const step = loop.next();
    await loop.return?.();
    assert.deepEqual(await step, { value: undefined, done: true });
    assert.deepEqual(await loop.next(), { value: undefined, done: true });
  });

  test("an abort while next() waits throws", async () => {
    await using at = await openInProcess();
    await using fl = createClient(at.transport);
    const enough = new AbortController();
    const loop = await loopOf(fl, enough.signal);
    const step = loop.next();
    enough.abort();
    await assert.rejects(step, { code: Code.Canceled });
  });
});

test("ids() and files.list() can be left while their request is pending", async () => {
  await using at = await openInProcess();
  let aborted = 0;
  const hanging = createClient({
    ...at.transport,
    unary: (_method, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => {
          aborted++;
          reject(signal.reason);
        });
      }),
  });
  for (const loop of [hanging.sequencer().ids("k"), hanging.files().list()]) {
    const step = loop.next();
    await sleep(50);
    await loop.return?.();
    assert.deepEqual(await step, { value: undefined, done: true });
  }
  assert.equal(aborted, 2);
});

test("all pending steps end when the loop is left", async () => {
  await using at = await openInProcess();
  await using fl = createClient(at.transport);
  const loop = fl.log().read();
  const steps = [loop.next(), loop.next(), loop.next()];
  await until(async () => (await streamsOpen(at)) === 1);
  await loop.return();
  for (const step of steps) assert.deepEqual(await step, { value: undefined, done: true });
});

test("break frees the server, and an unacknowledged message is redelivered", async () => {
  await using at = await openInProcess();
  await using fl = createClient(at.transport);
  const first = fl.pubsub().subscribe<string>("orders");
  const step = first.next();
  await until(async () => (await streamsOpen(at)) === 1);
  await fl.pubsub().publish("orders", "one");
  assert.equal((await step).value?.data, "one");
  await first.return();
  for await (const message of fl.pubsub().subscribe<string>("orders")) {
    assert.equal(message.data, "one");
    message.ack();
    break;
  }
  await until(async () => (await streamsOpen(at)) === 0);
});
