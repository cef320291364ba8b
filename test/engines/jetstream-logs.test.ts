import assert from "node:assert/strict";
import { afterAll, beforeAll, describe, test } from "vitest";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { EngineFault, type LogRecord, type LogStore } from "../../src/server/engine.js";
import { encodeToken } from "../../src/server/engines/jetstream/subjects.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { openStores, type Stores, type StoresOptions } from "../support/jetstream-stores.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";
import { until } from "../support/until.js";

const suite = hasNatsServer("the logs of the JetStream engine") ? describe : describe.skip;

const never = new AbortController().signal;

const append = (logs: LogStore, ...texts: string[]) => logs.append("l", texts.map(utf8));

/** Follows the log from its first record on, into `records`, until `stop` aborts. */
function follow(logs: LogStore, stop: AbortSignal) {
  const records: LogRecord[] = [];
  const reading = (async () => {
    for await (const batch of logs.read("l", 1n, { follow: true, signal: stop })) records.push(...batch);
  })();
  return { records, reading };
}

async function readAll(logs: LogStore, from = 1n, log = "l"): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for await (const batch of logs.read(log, from, { follow: false, signal: never })) records.push(...batch);
  return records;
}

const texts = (records: readonly LogRecord[]) => records.map(({ value }) => fromUtf8(value));

/** Fails unless the offsets are 1, 2, 3... and the timestamps never decrease. */
function checkOrder(records: readonly LogRecord[]): void {
  assert.deepEqual(
    records.map(({ offset }) => offset),
    records.map((_, i) => BigInt(i + 1)),
  );
  for (const [i, { timestampMs }] of records.entries()) {
    assert.ok(timestampMs >= (records[i - 1]?.timestampMs ?? 0), `the timestamp of ${i + 1} is not before`);
  }
}

/** The messages and subjects of the stream of logs. */
async function streamState({ session }: Stores) {
  const { state } = await session.api<{ state: { messages: number; bytes: number; last_seq: number } }>(
    `STREAM.INFO.${session.name}-logs`,
  );
  return state;
}

suite("logs in JetStream", () => {
  let nats: NatsCluster;
  const opened: Stores[] = [];

  beforeAll(async () => {
    nats = await startNats({ nodes: 1 });
  }, 60_000);

  afterAll(async () => {
    for (const stores of opened) await stores[Symbol.asyncDispose]();
    await nats?.[Symbol.asyncDispose]();
  });

  /** The logs of `count` servers that share them. */
  async function openServers(count: number, options: Partial<StoresOptions> = {}): Promise<Stores[]> {
    const name = `t${crypto.randomUUID()}`;
    const servers: Stores[] = [];
    for (let i = 0; i < count; i++) servers.push(await openStores({ servers: nats.urls, name, ...options }));
    opened.push(...servers);
    return servers;
  }

  test("append() on several servers gives contiguous offsets, and followers see each record once", async () => {
    const servers = await openServers(3);
    const stop = new AbortController();
    const followers = servers.map(({ logs }) => follow(logs, stop.signal));
    const places = new Map<string, bigint>();
    const write = async ({ logs }: Stores, server: number, caller: number) => {
      for (let i = 0; i < 25; i++) {
        const values = Array.from({ length: 1 + (i % 4) }, (_, j) => `${server}.${caller}.${i}.${j}`);
        const { first, last } = await append(logs, ...values);
        assert.equal(last - first, BigInt(values.length - 1));
        for (const [j, value] of values.entries()) places.set(value, first + BigInt(j));
      }
    };
    const callers = servers.flatMap((one, server) =>
      [0, 1, 2, 3].map((caller) => write(one, server, caller)),
    );
    await Promise.all(callers);
    await until(() => followers.every(({ records }) => records.length >= places.size));
    stop.abort();
    for (const { records, reading } of followers) {
      await reading;
      checkOrder(records);
      assert.deepEqual(new Map(records.map(({ value, offset }) => [fromUtf8(value), offset])), places);
    }
  });

  test("retain() on one server limits what the others read and append", async () => {
    const [a, b] = (await openServers(2)) as [Stores, Stores];
    await append(a.logs, "a", "b", "c", "d");
    await a.logs.retain("l", { maxRecords: 3 });
    assert.deepEqual(await b.logs.bounds("l"), { first: 2n, next: 5n });
    await append(b.logs, "e");
    assert.deepEqual(texts(await readAll(a.logs)), ["c", "d", "e"]);
    await b.logs.retain("l", { maxBytes: 2 });
    assert.deepEqual(texts(await readAll(a.logs)), ["d", "e"]);
    await a.logs.retain("l", {});
    await append(b.logs, "f");
    assert.deepEqual(texts(await readAll(b.logs)), ["d", "e", "f"]);
    assert.deepEqual(await a.logs.bounds("l"), { first: 4n, next: 7n });
  });

  test("retain() frees the space of what is appended", async () => {
    const [a, b] = (await openServers(2)) as [Stores, Stores];
    await a.logs.retain("l", { maxRecords: 100 });
    for (let i = 0; i < 60; i++) {
      const { logs } = i % 2 ? a : b;
      await logs.append(
        "l",
        Array.from({ length: 50 }, (_, j) => patternBytes(1000, i * 50 + j)),
      );
    }
    await until(async () => (await streamState(a)).bytes < 1_500_000);
    const records = await readAll(b.logs);
    assert.deepEqual([records.length, records[0]?.offset], [100, 2901n]);
    assert.deepEqual(records[99]?.value, patternBytes(1000, 2999));
  });

  test("records that are too old are removed though nobody appends, and offsets go on", async () => {
    const [a, b] = (await openServers(2, { sweepMs: 100 })) as [Stores, Stores];
    await a.logs.retain("l", { maxAgeMs: 300 });
    await a.logs.append("l", [patternBytes(1024 ** 2), patternBytes(1000)]);
    assert.ok((await streamState(a)).bytes > 1024 ** 2);
    // The limit's note, the log's last message and the barrier are left, and none of the values.
    await until(async () => (await streamState(a)).bytes < 2000);
    assert.deepEqual(await b.logs.bounds("l"), { first: 3n, next: 3n });
    assert.deepEqual(await append(b.logs, "next"), { first: 3n, last: 3n });
    await a.logs.retain("l", {});
    await append(b.logs, "kept");
    await sleep(600);
    assert.deepEqual(texts(await readAll(a.logs)).at(-1), "kept");
  });

  test("seek() finds the first record of a time among messages of several servers", async () => {
    const [a, b] = (await openServers(2)) as [Stores, Stores];
    for (let i = 0; i < 60; i++) {
      await append((i % 2 ? a : b).logs, ...Array.from({ length: 1 + (i % 3) }, (_, j) => `${i}.${j}`));
      if (i % 5 === 0) await sleep(2);
    }
    const records = await readAll(a.logs);
    checkOrder(records);
    const times = records.map(({ timestampMs }) => timestampMs);
    for (const timeMs of [0, ...times, ...times.map((time) => time + 1)]) {
      const expected = times.findIndex((time) => time >= timeMs);
      const offset = BigInt(expected < 0 ? records.length + 1 : expected + 1);
      assert.equal(await b.logs.seek("l", timeMs), offset, `${timeMs}`);
    }
  });

  test("append() of more than a message has is all there, on another server as well", async () => {
    const [a, b] = (await openServers(2)) as [Stores, Stores];
    const sizes = [0, 3_000_000, 10, 600_000, 5_000_000, 1, 524_280, 524_284, 524_288];
    const values = sizes.map((size, i) => patternBytes(size, i));
    const stop = new AbortController();
    const { records, reading } = follow(b.logs, stop.signal);
    await append(a.logs, "before");
    assert.deepEqual(await a.logs.append("l", values), { first: 2n, last: 10n });
    await append(b.logs, "after");
    await until(() => records.length === 11);
    stop.abort();
    await reading;
    checkOrder(records);
    for (const [i, value] of values.entries())
      assert.deepEqual(records[i + 1]?.value, value, `of ${sizes[i]}`);
    for (const from of [3n, 6n, 7n]) {
      const [first] = await readAll(b.logs, from);
      assert.deepEqual([first?.offset, first?.value], [from, values[Number(from) - 2]]);
    }
  });

  test("append() whose acknowledgement is lost is stored exactly once", async () => {
    await using proxy = await openCuttableProxy(Number(new URL(nats.urls[0] ?? "").port));
    const [a] = (await openServers(1)) as [Stores];
    await using cut = await openStores({
      servers: [proxy.url.replace("http", "nats")],
      name: a.session.name,
      waitMs: 20_000,
    });
    let isOver = false;
    let cuts = 0;
    const cutting = (async () => {
      while (!isOver) {
        await sleep(5 + Math.random() * 30);
        proxy.cut();
        cuts++;
        await sleep(250);
      }
    })();
    const acknowledged: string[] = [];
    const write = async (caller: number) => {
      for (let i = 0; cuts < 12; i++) {
        await append(cut.logs, `${caller}.${i}`);
        acknowledged.push(`${caller}.${i}`);
        // The other server, whose connection is never cut, changes the log in between.
        if (caller === 0 && i % 3 === 0) await append(a.logs, `other ${i}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, caller) => write(caller)));
    isOver = true;
    await cutting;
    const records = await readAll(a.logs);
    checkOrder(records);
    const own = texts(records).filter((text) => !text.startsWith("other"));
    assert.deepEqual(own.toSorted(), acknowledged.toSorted());
  });

  test("read() with follow goes on after disconnects, without gap or repeat", async () => {
    await using proxy = await openCuttableProxy(Number(new URL(nats.urls[0] ?? "").port));
    const [a] = (await openServers(1)) as [Stores];
    await using b = await openStores({ servers: [proxy.url.replace("http", "nats")], name: a.session.name });
    const stop = new AbortController();
    const { records, reading } = follow(b.logs, stop.signal);
    for (let i = 0; i < 300; i++) {
      await append(a.logs, `${i}`);
      if (i % 60 === 30) proxy.cut();
      if (i % 10 === 0) await sleep(10);
    }
    await until(() => records.length >= 300);
    stop.abort();
    await reading;
    checkOrder(records);
    assert.deepEqual(
      texts(records),
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
  });

  test("read() with follow gives what was appended while its server had no connection", async () => {
    await using proxy = await openCuttableProxy(Number(new URL(nats.urls[0] ?? "").port));
    const [a] = (await openServers(1)) as [Stores];
    await using b = await openStores({ servers: [proxy.url.replace("http", "nats")], name: a.session.name });
    const stop = new AbortController();
    const { records, reading } = follow(b.logs, stop.signal);
    for (let i = 0; i < 3; i++) {
      await append(a.logs, `before ${i}`);
      await until(() => records.length === 2 * i + 1);
      proxy.refuse();
      await append(a.logs, `during ${i}`);
      await sleep(300);
      proxy.heal();
      // Nothing is appended after it that would tell of it as well.
      await until(() => records.length === 2 * i + 2);
    }
    stop.abort();
    await reading;
    checkOrder(records);
  });

  test("read() requests no more than its reader takes", async () => {
    const [a, b] = (await openServers(2)) as [Stores, Stores];
    for (let i = 0; i < 64; i++) await a.logs.append("l", [patternBytes(500_000, i)]);
    const reading = b.logs.read("l", 1n, { follow: true, signal: never })[Symbol.asyncIterator]();
    const first = await reading.next();
    await a.logs.append("l", [patternBytes(500_000)]);
    await sleep(300);
    const received = b.session.nc.stats().inBytes;
    assert.ok(received < 6_000_000, `${received} bytes of 32 MB were received for one batch`);
    let next = (first.value?.at(-1)?.offset ?? 0n) + 1n;
    while (next <= 65n) {
      for (const { offset } of (await reading.next()).value ?? []) assert.equal(offset, next++);
    }
    await reading.return?.();
  });

  test("read() fails if a message is missing that retention has not removed", async () => {
    const [a] = (await openServers(1)) as [Stores];
    for (const text of ["a", "b", "c", "d"]) await append(a.logs, text);
    const subject = `${a.session.name}.l.r.${encodeToken("l")}`;
    const { last_seq: last } = await streamState(a);
    await a.session.api(`STREAM.MSG.DELETE.${a.session.name}-logs`, { seq: last - 1 });
    await assert.rejects(readAll(a.logs), {
      name: "ClusterError",
      message: new RegExp(`The log on ${subject.replaceAll(".", "\\.")} is damaged: offset 3 is missing`),
    });
  });

  test("append() over maxLogBytes fails as full, reads go on, and retention makes room", async () => {
    const [a] = (await openServers(1, { maxLogBytes: 3_000_000 })) as [Stores];
    const value = patternBytes(100_000);
    const full = await (async () => {
      for (let i = 0; i < 40; i++) await a.logs.append("l", [value]);
    })().catch((error: unknown) => error);
    assert.ok(full instanceof EngineFault && full.reason === "full", String(full));
    assert.deepEqual(full.limit, { name: "maxLogBytes", most: 3_000_000 });
    // Nothing at all fits any more, not even a barrier.
    await assert.rejects(async () => {
      for (let i = 0; i < 3000; i++) await append(a.logs, "x".repeat(200));
    }, EngineFault);
    const { next } = await a.logs.bounds("l");
    assert.equal((await readAll(a.logs)).length, Number(next) - 1);
  });

  test("append() frees what retention has given up before it fails as full", async () => {
    const [a] = (await openServers(1, { maxLogBytes: 3_000_000 })) as [Stores];
    await a.logs.retain("l", { maxAgeMs: 500 });
    for (let i = 0; i < 28; i++) await a.logs.append("l", [patternBytes(100_000, i)]);
    await sleep(550);
    assert.deepEqual(await a.logs.append("l", [patternBytes(400_000)]), { first: 29n, last: 29n });
    assert.equal((await readAll(a.logs)).length, 1);
  });

  test("10,000 logs each have their own offsets, and names of any length", async () => {
    const [a, b] = (await openServers(2)) as [Stores, Stores];
    const nameOf = (i: number) => (i % 100 === 0 ? `${"long ".repeat(300)}${i}` : `log ${i}`);
    let next = 0;
    const write = async () => {
      for (let i = next++; i < 10_000; i = next++) await a.logs.append(nameOf(i), [utf8(`of ${i}`)]);
    };
    await Promise.all(Array.from({ length: 64 }, write));
    for (let i = 0; i < 10_000; i += 250) {
      assert.deepEqual(await b.logs.append(nameOf(i), [utf8("more")]), { first: 2n, last: 2n });
      assert.deepEqual(texts(await readAll(a.logs, 1n, nameOf(i))), [`of ${i}`, "more"]);
    }
  }, 60_000);
});

suite("logs in a cluster of three nodes", () => {
  let nats: NatsCluster;

  beforeAll(async () => {
    nats = await startNats({ nodes: 3, proxied: true });
  }, 60_000);

  afterAll(() => nats?.[Symbol.asyncDispose]());

  test("read() and bounds() on one server know what another one has acknowledged", async () => {
    const name = `t${crypto.randomUUID()}`;
    const servers = await Promise.all(
      nats.urls.map((url) => openStores({ servers: [url], name, replicas: 3 })),
    );
    const leader = await nats.leaderOf(`${name}-logs`);
    // One replica hears of everything later, and answers the requests of its server.
    const late = nats.link(leader, (leader + 1) % 3);
    for (const proxy of late) proxy.impair({ latencyMs: 20 });
    try {
      for (let i = 1; i <= 60; i++) {
        const writer = servers[i % 3] as Stores;
        const reader = servers[(i + 1) % 3] as Stores;
        await append(writer.logs, `${i}`);
        const [bounds, records] = await Promise.all([
          reader.logs.bounds("l"),
          readAll(reader.logs, BigInt(i)),
        ]);
        assert.deepEqual(bounds, { first: 1n, next: BigInt(i + 1) });
        assert.deepEqual(texts(records), [`${i}`]);
      }
    } finally {
      for (const proxy of late) proxy.heal();
      for (const stores of servers) await stores[Symbol.asyncDispose]();
    }
  });

  test("append() and followers outlive the leader and a follower of the stream", async () => {
    const name = `t${crypto.randomUUID()}`;
    await using a = await openStores({ servers: nats.urls, name, replicas: 3, waitMs: 20_000 });
    await using b = await openStores({ servers: nats.urls.toReversed(), name, replicas: 3, waitMs: 20_000 });
    const stop = new AbortController();
    const followers = [follow(a.logs, stop.signal), follow(b.logs, stop.signal)];
    let isOver = false;
    const acknowledged: string[] = [];
    const write = async ({ logs }: Stores, writer: string) => {
      for (let i = 0; !isOver; i++) {
        await append(logs, `${writer}.${i}`);
        acknowledged.push(`${writer}.${i}`);
      }
    };
    const writing = ["a.0", "a.1"].map((id) => write(a, id)).concat(["b.0", "b.1"].map((id) => write(b, id)));
    for (let round = 0; round < 2; round++) {
      await sleep(500);
      const leader = await nats.leaderOf(`${name}-logs`);
      const killed = round === 0 ? leader : (leader + 1) % 3;
      await nats.kill(killed);
      const before = acknowledged.length;
      await until(() => acknowledged.length > before + 50);
      await nats.restart(killed);
      await nats.ready();
    }
    isOver = true;
    await Promise.all(writing);
    await until(() => followers.every(({ records }) => records.length >= acknowledged.length));
    stop.abort();
    for (const { records, reading } of followers) {
      await reading;
      checkOrder(records);
      assert.deepEqual(texts(records).toSorted(), acknowledged.toSorted());
    }
  }, 60_000);
});
