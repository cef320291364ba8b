import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, test } from "vitest";
import { concatChunks, put, read, streamOfChunks } from "../../src/conformance/engine/blobs/content.js";
import { pausedContent } from "../../src/conformance/engine/paused-content.js";
import { collect } from "../../src/conformance/engine/reader.js";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { EngineFault } from "../../src/server/engine.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { openStores, type Stores, type StoresOptions } from "../support/jetstream-stores.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";
import { until } from "../support/until.js";

const suite = hasNatsServer("the blobs of the JetStream engine") ? describe : describe.skip;

/** Notes lapse soon, so that what they protect is removed within the tests. */
const FAST = { renewMs: 50, lapseMs: 500, sweepMs: 100 };

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The numbers of messages by the kind of their subjects: c are chunks, m metadata, n notes. */
async function countMessages({ session }: Stores): Promise<Record<string, number>> {
  const request = { subjects_filter: ">" };
  const { state } = await session.api<{ state: { subjects?: Record<string, number> } }>(
    `STREAM.INFO.${session.name}-blobs`,
    request,
  );
  const counts: Record<string, number> = { c: 0, m: 0, n: 0 };
  for (const [subject, count] of Object.entries(state.subjects ?? {})) {
    const kind = subject.split(".")[2] ?? "";
    counts[kind] = (counts[kind] ?? 0) + count;
  }
  return counts;
}

suite("blobs in JetStream", () => {
  let nats: NatsCluster;
  const opened: Stores[] = [];
  const program = join(import.meta.dirname, `.tmp/uploader-${process.pid}.mjs`);

  beforeAll(async () => {
    nats = await startNats({ nodes: 1 });
    const entryPoints = [join(import.meta.dirname, "../jetstream/uploader.ts")];
    await build({
      entryPoints,
      outfile: program,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
    });
  }, 60_000);

  afterAll(async () => {
    for (const stores of opened) await stores[Symbol.asyncDispose]();
    await nats?.[Symbol.asyncDispose]();
    await rm(program, { force: true });
  });

  /** The blobs of `count` servers that share them. */
  async function openServers(count: number, options: Partial<StoresOptions> = {}): Promise<Stores[]> {
    const name = `t${crypto.randomUUID()}`;
    const servers: Stores[] = [];
    for (let i = 0; i < count; i++) servers.push(await openStores({ servers: nats.urls, name, ...options }));
    opened.push(...servers);
    return servers;
  }

  test("put() and get() of racing servers give one of the contents, whole", async () => {
    const servers = await openServers(2);
    const contents = Array.from({ length: 8 }, (_, i) => patternBytes(i % 2 ? 1_200_000 + i : 3000 + i, i));
    const hashes = new Set(contents.map(sha256));
    await put((servers[0] as Stores).blobs, "b", streamOfChunks([contents[0] as Uint8Array]));
    let isOver = false;
    const write = async (content: Uint8Array, i: number) => {
      for (let round = 0; round < 6; round++) {
        await put((servers[(i + round) % 2] as Stores).blobs, "b", streamOfChunks([content]));
      }
    };
    let reads = 0;
    const readOften = async ({ blobs }: Stores) => {
      while (!isOver) {
        const blob = await blobs.get("b");
        const content = blob && (await concatChunks(blob.content));
        assert.ok(content && hashes.has(sha256(content)), "it is one of the contents");
        assert.equal(blob?.info.sha256, sha256(content));
        reads++;
      }
    };
    const reading = servers.flatMap((server) => [readOften(server), readOften(server)]);
    await Promise.all(contents.map(write));
    isOver = true;
    await Promise.all(reading);
    assert.ok(reads > 10, `${reads} reads`);
  });

  test("put() with ifAbsent lets one of several servers win", async () => {
    const servers = await openServers(2);
    for (let round = 0; round < 10; round++) {
      const writers = Array.from({ length: 8 }, (_, i) => ({
        blobs: (servers[i % 2] as Stores).blobs,
        text: `${i} `.repeat(i % 4 === 0 ? 10_000 : 1),
      }));
      const infos = await Promise.all(
        writers.map(({ blobs, text }) => put(blobs, `b${round}`, text, { ifAbsent: true })),
      );
      const winners = writers.filter((_, i) => infos[i]);
      assert.equal(winners.length, 1);
      const stored = await read((servers[1] as Stores).blobs, `b${round}`);
      assert.equal(stored && fromUtf8(stored), winners[0]?.text);
      if (round % 2) assert.equal(await (servers[0] as Stores).blobs.delete(`b${round}`), true);
    }
  });

  test("delete() of racing servers is true for one of them", async () => {
    const servers = await openServers(2);
    for (let round = 0; round < 10; round++) {
      await put((servers[0] as Stores).blobs, "b", "text");
      const deleted = await Promise.all(servers.map(({ blobs }) => blobs.delete("b")));
      assert.deepEqual(deleted.toSorted(), [false, true]);
    }
  });

  test("a content stays while another server reads it, and is removed then", async () => {
    const [a, b] = (await openServers(2, { timing: FAST })) as [Stores, Stores];
    const old = patternBytes(4_000_000);
    await put(a.blobs, "b", streamOfChunks([old]));
    const chunks = (await countMessages(a))["c"] ?? 0;
    const reading = (await b.blobs.get("b"))?.content[Symbol.asyncIterator]();
    assert.ok(reading);
    const parts = [(await reading.next()).value as Uint8Array];
    await put(a.blobs, "b", "new");
    await sleep(4 * FAST.lapseMs);
    assert.equal((await countMessages(a))["c"], chunks);
    parts.push(...(await collect({ [Symbol.asyncIterator]: () => reading })));
    assert.equal(sha256(Buffer.concat(parts)), sha256(old));
    await until(async () => (await countMessages(a))["c"] === 0);
    assert.deepEqual(fromUtf8((await read(b.blobs, "b")) ?? new Uint8Array()), "new");
  });

  test("contents that were replaced or deleted are removed, and nothing is left of them", async () => {
    const [a, b] = (await openServers(2, { timing: FAST })) as [Stores, Stores];
    for (const { blobs } of [a, b, a]) await put(blobs, "b", streamOfChunks([patternBytes(1_000_000)]));
    await put(a.blobs, "kept", streamOfChunks([patternBytes(1_000_000)]));
    await b.blobs.delete("b");
    const keptChunks = Math.ceil(1_000_000 / (512 * 1024));
    await until(async () => (await countMessages(a))["c"] === keptChunks);
    assert.equal(sha256((await read(b.blobs, "kept")) ?? new Uint8Array()), sha256(patternBytes(1_000_000)));
  });

  test("put() that fails removes its chunks", async () => {
    const [a] = (await openServers(1)) as [Stores];
    const broken = new Error("the upload broke off");
    const breaks = async function* () {
      for (let i = 0; i < 4; i++) yield patternBytes(600_000);
      throw broken;
    };
    await assert.rejects(put(a.blobs, "b", breaks()), (error) => error === broken);
    await put(a.blobs, "taken", "text");
    const { content, stopped, go } = pausedContent(patternBytes(900_000), patternBytes(900_000));
    const late = put(a.blobs, "late", content, { ifAbsent: true });
    await stopped;
    await put(a.blobs, "late", "first");
    go();
    assert.equal(await late, undefined);
    await until(async () => (await countMessages(a))["c"] === 0);
  });

  test("the chunks of an upload whose process was killed are removed by another server", async () => {
    const [a] = (await openServers(1, { timing: FAST })) as [Stores];
    const child = fork(program, [nats.urls[0] ?? "", a.session.name]);
    await once(child, "message");
    // While the process lives its upload stays, though it takes longer than a note is valid.
    await sleep(2 * FAST.lapseMs);
    assert.ok(((await countMessages(a))["c"] ?? 0) >= 6);
    child.kill("SIGKILL");
    await once(child, "exit");
    await until(async () => {
      const { c = 0, n = 0 } = await countMessages(a);
      return c + n === 0;
    });
    assert.equal(await a.blobs.stat("b"), undefined);
  });

  for (const [what, renewMs] of [
    ["whose renewal finds out", FAST.renewMs],
    ["that finds out when it stores the blob", 60_000],
  ] as const) {
    test(`put() of an upload that another server has given up fails: one ${what}`, async () => {
      await using proxy = await openCuttableProxy(Number(new URL(nats.urls[0] ?? "").port));
      const [a] = (await openServers(1, { timing: FAST })) as [Stores];
      await using cut = await openStores({
        servers: [proxy.url.replace("http", "nats")],
        name: a.session.name,
        timing: { ...FAST, renewMs },
      });
      await put(a.blobs, "b", "old");
      const { content, stopped, go } = pausedContent(patternBytes(1_200_000), patternBytes(600_000));
      const putting = put(cut.blobs, "b", content);
      await stopped;
      await until(async () => ((await countMessages(a))["c"] ?? 0) > 0);
      proxy.refuse();
      await until(async () => (await countMessages(a))["c"] === 0);
      proxy.heal();
      go();
      await assert.rejects(putting, { name: "EngineFault", reason: "unavailable" });
      assert.deepEqual(fromUtf8((await read(a.blobs, "b")) ?? new Uint8Array()), "old");
      await until(async () => (await countMessages(a))["c"] === 0);
    });
  }

  test("put() and get() of 200 MB need little memory, and go on after disconnects", async () => {
    await using proxy = await openCuttableProxy(Number(new URL(nats.urls[0] ?? "").port));
    const [a] = (await openServers(1)) as [Stores];
    await using cut = await openStores({
      servers: [proxy.url.replace("http", "nats")],
      name: a.session.name,
    });
    const piece = patternBytes(1_000_000);
    const hash = createHash("sha256");
    let most = 0;
    const before = process.memoryUsage().arrayBuffers;
    const look = (i: number) => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
      if (i % 50 === 25) proxy.cut();
    };
    const content = async function* () {
      for (let i = 0; i < 200; i++) {
        hash.update(piece);
        yield piece;
        look(i);
      }
    };
    const info = await put(cut.blobs, "b", content());
    assert.deepEqual([info?.size, info?.sha256], [200_000_000, hash.digest("hex")]);
    let size = 0;
    let chunks = 0;
    // The content's hash is checked by get() itself.
    for await (const chunk of (await cut.blobs.get("b"))?.content ?? []) {
      size += chunk.length;
      look(chunks++);
    }
    assert.equal(size, 200_000_000);
    assert.ok(most < 100_000_000, `${most} bytes were held at once`);
  }, 60_000);

  test("get() fails if a chunk is missing or damaged", async () => {
    const [a] = (await openServers(1)) as [Stores];
    await put(a.blobs, "b", streamOfChunks([patternBytes(2_000_000)]));
    const { session } = a;
    const stream = `${session.name}-blobs`;
    const { state } = await session.api<{ state: { subjects: Record<string, number> } }>(
      `STREAM.INFO.${stream}`,
      { subjects_filter: `${session.name}.b.c.>` },
    );
    const subject = Object.keys(state.subjects).find((one) => one.endsWith(".2")) ?? assert.fail();
    const length = 512 * 1024;
    await session.publishRepeatedly({ subject, data: new Uint8Array(length), headers: [] });
    await assert.rejects(read(a.blobs, "b"), /The blob "b" is damaged: its SHA-256 is not/);
    await session.publishRepeatedly({ subject, data: new Uint8Array(length - 1), headers: [] });
    await assert.rejects(read(a.blobs, "b"), /damaged: chunk 2 has 524287 bytes, not 524288/);
    await session.api(`STREAM.PURGE.${stream}`, { filter: subject });
    await assert.rejects(read(a.blobs, "b"), { name: "EngineFault", reason: "unavailable" });
    // What does not need the chunk can be read.
    const start = await read(a.blobs, "b", { offset: 0, length: 100 });
    assert.deepEqual(start, patternBytes(2_000_000).subarray(0, 100));
  });

  test("put() over maxBlobBytes fails as full, reads go on, and a delete makes room", async () => {
    const [a] = (await openServers(1, { maxBlobBytes: 5_000_000, timing: FAST })) as [Stores];
    await put(a.blobs, "b", streamOfChunks([patternBytes(3_000_000)]));
    const full = await put(a.blobs, "c", streamOfChunks([patternBytes(3_000_000)])).catch((error) => error);
    assert.ok(full instanceof EngineFault && full.reason === "full", String(full));
    assert.deepEqual(full.limit, { name: "maxBlobBytes", most: 5_000_000 });
    assert.equal((await a.blobs.stat("b"))?.size, 3_000_000);
    assert.equal(await a.blobs.stat("c"), undefined);
    let small = 0;
    await assert.rejects(async () => {
      for (; small < 1000; small++) await put(a.blobs, `small ${small}`, "x".repeat(8000));
    }, EngineFault);
    assert.equal((await collect(a.blobs.list("small"))).length, small);
    // Nothing fits any more, and yet a delete does.
    assert.equal(await a.blobs.delete("b"), true);
    await until(async () => (await countMessages(a))["c"] === 0);
    await put(a.blobs, "c", streamOfChunks([patternBytes(1_000_000)]));
    assert.deepEqual(await read(a.blobs, "c"), patternBytes(1_000_000));
  });

  test("list() gives long names in order among short ones", async () => {
    const [a] = (await openServers(1)) as [Stores];
    const long = "long ".repeat(300);
    const names = ["a", `s\0${long}1`, `s\0${long}2`, "s\0short", `${long}3`, "z\0x"];
    for (const name of names.toReversed()) await put(a.blobs, name, name);
    const listed = async (prefix: string) => (await collect(a.blobs.list(prefix))).map(({ name }) => name);
    assert.deepEqual(await listed(""), names.toSorted());
    assert.deepEqual(await listed("s\0"), names.filter((name) => name.startsWith("s\0")).toSorted());
    assert.deepEqual(await listed(`s\0${long}`), [`s\0${long}1`, `s\0${long}2`]);
  });
});

suite("blobs in a cluster of three nodes", () => {
  let nats: NatsCluster;

  beforeAll(async () => {
    nats = await startNats({ nodes: 3, proxied: true });
  }, 60_000);

  afterAll(() => nats?.[Symbol.asyncDispose]());

  test("stat(), get() and list() on one server know what another one has acknowledged", async () => {
    const name = `t${crypto.randomUUID()}`;
    const servers: Stores[] = [];
    for (const url of nats.urls) servers.push(await openStores({ servers: [url], name, replicas: 3 }));
    const leader = await nats.leaderOf(`${name}-blobs`);
    // One replica hears of everything later, and answers the requests of its server.
    const late = nats.link(leader, (leader + 1) % 3);
    for (const proxy of late) proxy.impair({ latencyMs: 20 });
    try {
      for (let i = 1; i <= 30; i++) {
        const writer = servers[i % 3] as Stores;
        const { blobs } = servers[(i + 1) % 3] as Stores;
        const content = patternBytes(i % 2 ? 600_000 : 100, i);
        const info = await put(writer.blobs, "b", streamOfChunks([content]));
        assert.deepEqual(await Promise.all([blobs.stat("b"), read(blobs, "b"), collect(blobs.list(""))]), [
          info,
          content,
          [info],
        ]);
        if (i % 5 > 0) continue;
        assert.equal(await writer.blobs.delete("b"), true);
        assert.deepEqual([await blobs.stat("b"), await collect(blobs.list(""))], [undefined, []]);
        assert.equal(await blobs.delete("b"), false);
      }
    } finally {
      for (const proxy of late) proxy.heal();
      for (const stores of servers) await stores[Symbol.asyncDispose]();
    }
  }, 60_000);

  test("put() and get() outlive the leader of the stream", async () => {
    const name = `t${crypto.randomUUID()}`;
    await using a = await openStores({ servers: nats.urls, name, replicas: 3, waitMs: 20_000 });
    const content = patternBytes(10_000_000);
    const slow = async function* () {
      for (let at = 0; at < content.length; at += 200_000) {
        yield content.subarray(at, at + 200_000);
        await sleep(20);
      }
    };
    const putting = put(a.blobs, "b", slow());
    await sleep(300);
    const leader = await nats.leaderOf(`${name}-blobs`);
    await nats.kill(leader);
    assert.equal((await putting)?.sha256, sha256(content));
    await nats.restart(leader);
    await nats.ready();
    const next = await nats.leaderOf(`${name}-blobs`);
    const parts: Uint8Array[] = [];
    for await (const part of (await a.blobs.get("b"))?.content ?? []) {
      parts.push(part);
      if (parts.length === 2) await nats.kill(next);
    }
    assert.equal(sha256(Buffer.concat(parts)), sha256(content));
    await nats.restart(next);
  }, 60_000);
});
