import assert from "node:assert/strict";
import type { StreamInfo } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, describe, test } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { waitUntilAfter } from "../../src/conformance/engine/timing.js";
import { commitWrites, expectConflict, set } from "../../src/conformance/engine/writes.js";
import { compareUtf8 } from "../../src/lib/compare-utf8.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { silent } from "../../src/server/context.js";
import { type Change, type Engine, EngineFault, type KeyStore, type Write } from "../../src/server/engine.js";
import { ClusterClock } from "../../src/server/engines/jetstream/cluster-clock.js";
import { subjectOfKey } from "../../src/server/engines/jetstream/keys/key-subjects.js";
import { PartSweeper } from "../../src/server/engines/jetstream/keys/part-sweeper.js";
import { KeyReader } from "../../src/server/engines/jetstream/keys/reader.js";
import { JetStreamSession } from "../../src/server/engines/jetstream/session.js";
import { type JetStreamEngineOptions, openJetStreamEngine } from "../../src/server/jetstream.js";
import type { CuttableProxy } from "../support/cuttable-proxy.js";
import { hasNatsServer, type NatsCluster, startNats } from "../support/nats-cluster.js";

const suite = hasNatsServer("the keys of the JetStream engine") ? describe : describe.skip;

/** The latency of a link whose acknowledgements are cut off, each way. */
const LATENCY_MS = 30;

suite("keys on JetStream", () => {
  let nats: NatsCluster;
  let link: CuttableProxy;
  let name = "";
  const opened: Engine[] = [];

  beforeAll(async () => {
    nats = await startNats({ nodes: 1, maxPayload: "1MB" });
    const [first] = await nats.openLinks();
    link = first as CuttableProxy;
  }, 60_000);

  afterEach(async () => {
    link.heal();
    await Promise.all(opened.splice(0).map((engine) => engine.close()));
    name = "";
  });

  afterAll(async () => {
    await nats?.[Symbol.asyncDispose]();
  });

  /** Opens one of several servers that share their keys, for this test. */
  async function open(options: Partial<JetStreamEngineOptions> = {}): Promise<Engine> {
    name ||= `t${crypto.randomUUID()}`;
    const engine = await openJetStreamEngine({ servers: nats.urls, name, replicas: 1, ...options });
    opened.push(engine);
    return engine;
  }

  /** Opens a server whose connection can be cut. */
  const openLinked = (options: Partial<JetStreamEngineOptions> = {}) =>
    open({ servers: `nats://127.0.0.1:${link.port}`, ...options });

  /** Runs `write`, and cuts the link after the cluster has it and before its acknowledgement has come. */
  async function loseAck<T>(write: () => Promise<T>): Promise<T> {
    link.impair({ latencyMs: LATENCY_MS });
    const result = write();
    result.catch(() => {});
    await sleep(LATENCY_MS * 1.5);
    link.cut();
    link.heal();
    return await result;
  }

  /** The changes under "" until a set of the key "end", which this commits. */
  async function changesOf(engine: Engine, during: () => Promise<unknown>): Promise<Change[]> {
    const changes = reader(engine.keys.watch("", new AbortController().signal));
    // A read comes after the start of the watch.
    await engine.keys.get("k");
    await during();
    await commitWrites(engine.keys, set("end"));
    const seen: Change[] = [];
    for (let change = await changes.next(); keyOf(change) !== "end"; change = await changes.next()) {
      seen.push(change);
    }
    return seen;
  }

  describe("commit() whose acknowledgement is lost", () => {
    test("stores a set once and returns its version", async () => {
      const [lossy, other] = [await openLinked(), await open()];
      const changes = await changesOf(other, () => loseAck(() => commitWrites(lossy.keys, set("k", "v"))));
      assert.equal(changes.length, 1);
    });

    test("over a version is not taken for a conflict with itself", async () => {
      const [lossy, other] = [await openLinked(), await open()];
      const ifVersion = await commitWrites(lossy.keys, set("k", "1"));
      const version = await loseAck(() => commitWrites(lossy.keys, set("k", "2", { ifVersion })));
      assert.deepEqual(await other.keys.get("k"), { key: "k", value: utf8("2"), version });
      const absent = await loseAck(() => commitWrites(lossy.keys, set("new", "1", { ifVersion: 0n })));
      assert.equal((await other.keys.get("new"))?.version, absent);
      await loseAck(() => commitWrites(lossy.keys, { type: "delete", key: "k", ifVersion: version }));
      assert.equal(await other.keys.get("k"), undefined);
    });

    test("stores a batch once, with one version", async () => {
      const [lossy, other] = [await openLinked(), await open()];
      const ifVersion = await commitWrites(lossy.keys, set("a", "1"));
      let version = 0n;
      const changes = await changesOf(other, async () => {
        const batch = [set("a", "2", { ifVersion }), set("b", "2"), set("c", "2")];
        version = await loseAck(() => commitWrites(lossy.keys, ...batch));
      });
      assert.deepEqual(changes.map(keyOf), ["a", "b", "c"]);
      for (const entry of await other.keys.getMany(["a", "b", "c"])) assert.equal(entry?.version, version);
    });

    test("counts exactly while the connection is cut again and again", { timeout: 60_000 }, async () => {
      const engines = [await openLinked(), await openLinked(), await open()];
      let acknowledged = 0;
      let isDone = false;
      const increment = async ({ keys }: Engine) => {
        while (!isDone) {
          const [n, m] = await keys.getMany(["n", "m"]);
          const value = String(Number(n ? fromUtf8(n.value) : 0) + 1);
          const writes = [set("n", value, { ifVersion: n?.version ?? 0n })];
          if (acknowledged % 2) writes.unshift(set("m", value, { ifVersion: m?.version ?? 0n }));
          if ("version" in (await keys.commit(writes))) acknowledged++;
        }
      };
      const counting = Promise.all(engines.flatMap((engine) => [increment(engine), increment(engine)]));
      for (let i = 0; i < 12; i++) {
        await sleep(100 + Math.random() * 100);
        link.cut();
      }
      isDone = true;
      await counting;
      const [entry] = await Promise.all(engines.map(({ keys }) => keys.get("n")));
      assert.equal(entry && fromUtf8(entry.value), String(acknowledged));
      assert.ok(acknowledged > 12, `${acknowledged} increments`);
    });
  });

  describe("several servers", () => {
    test("get() and getMany() read what another server has acknowledged, at once", async () => {
      const [a, b] = [await open(), await open()];
      for (let i = 0; i < 1000; i++) {
        const version = await commitWrites(a.keys, set("k", `${i}`));
        assert.equal((await b.keys.get("k"))?.version, version);
        const next = await commitWrites(b.keys, set("k", `${i}b`, { ifVersion: version }));
        assert.equal((await a.keys.getMany(["x", "k"]))[1]?.version, next);
      }
    });

    test("commit() over a version of a batch that another server wrote", async () => {
      const [a, b] = [await open(), await open()];
      const version = await commitWrites(a.keys, ...["a", "b", "c"].map((key) => set(key)));
      await expectConflict(b.keys, set("a", "no", { ifVersion: version - 1n }));
      await expectConflict(b.keys, set("a", "no", { ifVersion: version - 2n }));
      await commitWrites(
        b.keys,
        set("a", "2", { ifVersion: version }),
        set("b", "2", { ifVersion: version }),
      );
      await commitWrites(a.keys, { type: "delete", key: "c", ifVersion: version });
    });

    test("commit() of many servers to one key loses none and lets each go on", async () => {
      const engines = await Promise.all([open(), open(), open()]);
      const increments = 20;
      const add = async (keys: KeyStore) => {
        for (let i = 0; i < increments; ) {
          const entry = await keys.get("n");
          const value = String(Number(entry ? fromUtf8(entry.value) : 0) + 1);
          if ("version" in (await keys.commit([set("n", value, { ifVersion: entry?.version ?? 0n })]))) i++;
        }
      };
      await Promise.all(engines.flatMap(({ keys }) => [1, 2, 3, 4].map(() => add(keys))));
      const entry = await engines[0].keys.get("n");
      assert.equal(entry && fromUtf8(entry.value), String(engines.length * 4 * increments));
    });

    test("an entry expires for all at the same time, and watchers of another server are told in time", async () => {
      const [a, b] = [await open(), await open()];
      const changes = reader(b.keys.watch("k", new AbortController().signal));
      await b.keys.get("k");
      await commitWrites(a.keys, set("k", "v", { ttlMs: 150 }));
      await changes.next();
      const { expiresAtMs = 0 } = (await b.keys.get("k")) ?? {};
      assert.deepEqual(await changes.next(), { type: "delete", key: "k" });
      const lateMs = b.clock.now() - expiresAtMs;
      assert.ok(lateMs >= -5 && lateMs < 500, `told ${lateMs} ms after the expiry`);
      assert.equal(await b.keys.get("k"), undefined);
      await changes.quiet(100);
    });

    test("an entry expires without the server that wrote it, and is deleted once", {
      timeout: 20_000,
    }, async () => {
      const [gone, stays] = [await openLinked({ waitMs: 500 }), await open()];
      const changes = reader(stays.keys.watch("k", new AbortController().signal));
      await stays.keys.get("k");
      await commitWrites(gone.keys, set("k", "v", { ttlMs: 300 }));
      link.refuse();
      await changes.next();
      const { expiresAtMs = 0 } = (await stays.keys.get("k")) ?? {};
      await waitUntilAfter(expiresAtMs + 5);
      assert.equal(await stays.keys.get("k"), undefined);
      assert.deepEqual(await collect(stays.keys.list("")), []);
      const version = await commitWrites(stays.keys, set("k2", "v", { ifVersion: 0n }));
      assert.deepEqual(await changes.next(), {
        type: "set",
        entry: { key: "k2", value: utf8("v"), version },
      });
      assert.deepEqual(await changes.next(), { type: "delete", key: "k" });
      await commitWrites(stays.keys, set("k", "again", { ifVersion: 0n }));
    });

    test("watch() tells of an expiry once, although both a server and the cluster remove the entry", async () => {
      const [a, b] = [await open(), await open()];
      const changes = [a, b].map(({ keys }) => reader(keys.watch("k", new AbortController().signal)));
      await Promise.all([a, b].map(({ keys }) => keys.get("k")));
      const connection = await connect({ servers: nats.urls });
      const marker = headers();
      marker.set("Nats-Marker-Reason", "MaxAge");
      marker.set("Nats-Rollup", "sub");
      const { subject } = subjectOfKey(`${name}.k.`, "k");
      await commitWrites(a.keys, set("k", "v", { ttlMs: 150 }));
      for (const each of changes) {
        assert.equal((await each.next()).type, "set");
        assert.deepEqual(await each.next(), { type: "delete", key: "k" });
      }
      // As nats-server does if the entry's lifetime ends while a server's deletion is on its way.
      const ack = await connection.request(subject, "", { headers: marker, timeout: 5000 });
      assert.ok(ack.json<{ seq?: number }>().seq, ack.string());
      await connection.close();
      const version = await commitWrites(a.keys, set("k", "again", { ifVersion: 0n }));
      const entry = { key: "k", value: utf8("again"), version };
      for (const each of changes) assert.deepEqual(await each.next(), { type: "set", entry });
    });

    for (const [what, ifVersion] of [
      ["over absence", 0n],
      ["without a condition", undefined],
    ] as const) {
      test(`a set ${what} over an entry that has expired comes behind its deletion, so that the cluster's removal cannot undo it`, async () => {
        const [gone, stays] = [await openLinked({ waitMs: 500 }), await open()];
        const changes = reader(stays.keys.watch("k", new AbortController().signal));
        await stays.keys.get("k");
        await commitWrites(gone.keys, set("k", "v", { ttlMs: 100 }));
        link.refuse();
        await changes.next();
        const { expiresAtMs = 0 } = (await stays.keys.get("k")) ?? {};
        await waitUntilAfter(expiresAtMs + 5);
        const version = await commitWrites(
          stays.keys,
          set("k", "new", ifVersion === undefined ? {} : { ifVersion }),
        );
        assert.deepEqual(await changes.next(), { type: "delete", key: "k" });
        assert.deepEqual(await changes.next(), {
          type: "set",
          entry: { key: "k", value: utf8("new"), version },
        });
        await changes.quiet(100);
      });
    }

    test("watch() tells of every change of another server, across lost connections", {
      timeout: 60_000,
    }, async () => {
      const [watcher, writer] = [await openLinked(), await open()];
      const changes = reader(watcher.keys.watch("store\0", new AbortController().signal));
      await watcher.keys.get("k");
      const written: bigint[] = [];
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 40; i++) {
          written.push(await commitWrites(writer.keys, set(`store\0${round}.${i}`)));
          if (i === 20) link.cut();
        }
        await sleep(50);
      }
      const seen = await changes.take(written.length);
      assert.deepEqual(
        seen.map((change) => change.type === "set" && change.entry.version),
        written,
      );
      await changes.quiet(100);
    });
  });

  describe("keys", () => {
    const odd = [
      "",
      "\0",
      "\0\0a",
      "a",
      "a\0",
      "a\0\0",
      "a\0b",
      "a\0b\0",
      "a\0b\0c\0d",
      "ä\0ö",
      "\ufeffx",
      "a.b.*.>",
      " ",
    ];
    const long = [
      ...["", "a", "b\0c"].map((end) => "x".repeat(2000) + end),
      `${"y".repeat(500)}\0${"z".repeat(500)}\0short`,
      `${"x".repeat(749)}zz`,
      `${"x".repeat(760)}`,
      "😀".repeat(700),
    ];

    test("of any length and characters are kept apart, listed in order, and watched", async () => {
      const { keys } = await open();
      const all = [...odd, ...long];
      const changes = reader(keys.watch("", new AbortController().signal));
      for (const key of all) await commitWrites(keys, set(key, `of ${key}`, { ifVersion: 0n }));
      for (const key of all) assert.equal(fromUtf8((await keys.get(key))?.value ?? utf8("")), `of ${key}`);
      assert.deepEqual((await changes.take(all.length)).map(keyOf), all);
      const sorted = [...all].sort(compareUtf8);
      assert.deepEqual(await keysOf(keys, ""), sorted);
      for (const [i, key] of sorted.entries()) {
        assert.deepEqual(await keysOf(keys, "", key), sorted.slice(i + 1));
        assert.deepEqual(
          await keysOf(keys, key),
          sorted.filter((each) => each.startsWith(key)),
        );
      }
      for (const key of all) await commitWrites(keys, { type: "delete", key });
      assert.deepEqual(
        await changes.take(all.length),
        all.map((key) => ({ type: "delete", key })),
      );
      assert.deepEqual(await keysOf(keys, ""), []);
    });

    test("of more than one response are listed in order, long ones too", { timeout: 30_000 }, async () => {
      const { keys } = await open();
      const all = Array.from({ length: 1500 }, (_, i) => `k${i % 2 ? "" : "x".repeat(1100)}${i}\0${i % 7}`);
      for (let i = 0; i < all.length; i += 500) {
        await commitWrites(keys, ...all.slice(i, i + 500).map((key) => set(key, "v")));
      }
      const sorted = [...all].sort(compareUtf8);
      assert.deepEqual(await keysOf(keys, "k"), sorted);
      const middle = sorted[700] as string;
      assert.deepEqual(await keysOf(keys, "", middle), sorted.slice(701));
      const prefix = middle.slice(0, -3);
      assert.deepEqual(
        await keysOf(keys, prefix),
        sorted.filter((key) => key.startsWith(prefix)),
      );
    });
  });

  describe("getMany()", () => {
    test("of more keys than one request has is of one moment", { timeout: 30_000 }, async () => {
      const [a, b] = [await open(), await open()];
      const keys = Array.from({ length: 700 }, (_, i) => `k${i}`);
      const write = (value: string) => commitWrites(a.keys, ...keys.map((key) => set(key, value)));
      await write("0");
      let isDone = false;
      const writing = (async () => {
        for (let i = 1; !isDone; i++) {
          await write(`${i}`);
          await sleep(20);
        }
      })();
      for (let i = 0; i < 10; i++) {
        const found = await b.keys.getMany(keys);
        assert.deepEqual([...new Set(found.map((entry) => entry && fromUtf8(entry.value)))].length, 1);
        assert.equal(new Set(found.map((entry) => entry?.version)).size, 1);
      }
      isDone = true;
      await writing;
    });

    test("of two batches at once has each whole, in small reads that others share", async () => {
      const [a, b] = [await open(), await open()];
      const pairs = [0, 1, 2].map((i) => [`a${i}`, `b${i}`] as const);
      const write = async ([x, y]: readonly [string, string]) => {
        for (let i = 0; i < 100; i++) await commitWrites(a.keys, set(x, `${i}`), set(y, `${i}`));
      };
      const read = async ([x, y]: readonly [string, string]) => {
        for (let i = 0; i < 100; i++) {
          const [left, right] = await b.keys.getMany([x, y]);
          assert.deepEqual(left?.value, right?.value);
        }
      };
      await Promise.all(pairs.flatMap((pair) => [write(pair), read(pair)]));
    });
  });

  describe("values above max_payload", () => {
    const large = (fill: number, bytes = 3_000_000) => new Uint8Array(bytes).fill(fill);

    test("are stored whole, replaced, watched, listed and deleted", { timeout: 30_000 }, async () => {
      const [a, b] = [await open(), await open()];
      const changes = reader(b.keys.watch("", new AbortController().signal));
      await b.keys.get("k");
      const put = (key: string, value: Uint8Array, ttlMs?: number): Write => {
        return { type: "set", key, value, ...(ttlMs !== undefined && { ttlMs }) };
      };
      const first = await commitWrites(a.keys, put("k", large(1)), set("other"));
      assert.deepEqual((await changes.take(2)).map(keyOf), ["k", "other"]);
      assert.deepEqual((await b.keys.get("k"))?.value, large(1));
      const ifVersion = await commitWrites(b.keys, {
        ...put("k", large(2, 5_000_000)),
        ifVersion: first,
      } as Write);
      const change = await changes.next();
      assert.deepEqual(change, {
        type: "set",
        entry: { key: "k", value: large(2, 5_000_000), version: ifVersion },
      });
      assert.deepEqual((await collect(a.keys.list("k")))[0]?.value, large(2, 5_000_000));
      await commitWrites(a.keys, put("k", large(3, 1_500_000), 60_000));
      assert.deepEqual((await b.keys.getMany(["other", "k"]))[1]?.value, large(3, 1_500_000));
      await commitWrites(a.keys, set("k", "small"));
      assert.deepEqual((await b.keys.get("k"))?.value, utf8("small"));
      await commitWrites(a.keys, { type: "delete", key: "k" });
      assert.equal(await b.keys.get("k"), undefined);
    });

    test("leave no parts behind, once a server has swept", { timeout: 30_000 }, async () => {
      const { keys } = await open();
      const put = (key: string, bytes: number): Write => ({ type: "set", key, value: large(1, bytes) });
      await commitWrites(keys, put("stays", 3_000_000), put("shrinks", 5_000_000), put("small", 3_000_000));
      await commitWrites(keys, put("deleted", 3_000_000));
      await commitWrites(keys, put("shrinks", 1_500_000), put("small", 10), {
        type: "delete",
        key: "deleted",
      });
      const connection = await connect({ servers: nats.urls });
      const stored = async (): Promise<number> => {
        const body = JSON.stringify({ subjects_filter: `${name}.i.p.>` });
        const info = await connection.request(`$JS.API.STREAM.INFO.${name}-keys`, body);
        return Object.keys(info.json<StreamInfo>().state.subjects ?? {}).length;
      };
      assert.equal(await stored(), 2 + 4 + 2 + 2);
      const clock = new ClusterClock();
      const session = new JetStreamSession(
        { nc: connection, name, clock, waitMs: 1000, log: silent },
        headers,
      );
      const sweeper = new PartSweeper(session, new KeyReader(session));
      await sweeper.sweep();
      assert.equal(await stored(), 2 + 1);
      const [stays, shrinks, small, deleted] = await keys.getMany(["stays", "shrinks", "small", "deleted"]);
      assert.deepEqual(
        [stays, shrinks, small, deleted].map((entry) => entry?.value.length),
        [3_000_000, 1_500_000, 10, undefined],
      );
      await sweeper.close();
      await connection.close();
    });

    test("are read whole while another server replaces them", { timeout: 30_000 }, async () => {
      const [a, b] = [await open(), await open()];
      const write = async () => {
        for (let i = 1; i <= 15; i++) {
          await commitWrites(a.keys, { type: "set", key: "k", value: large(i, 1_000_000 + i * 300_000) });
        }
      };
      const read = async () => {
        for (let value: Uint8Array | undefined; value?.[0] !== 15; ) {
          value = (await b.keys.get("k"))?.value;
          if (value) assert.deepEqual(value, large(value[0] ?? 0, 1_000_000 + (value[0] ?? 0) * 300_000));
        }
      };
      await Promise.all([write(), read()]);
    });
  });

  describe("bounds", () => {
    test("commit() beyond maxKeyBytes fails as full; reads, deletes and replacements go on", async () => {
      const [a, b] = [await open({ maxKeyBytes: 200_000 }), await open({ maxKeyBytes: 200_000 })];
      const isFull = (error: unknown) => {
        assert.ok(error instanceof EngineFault);
        assert.deepEqual([error.reason, error.limit], ["full", { name: "maxKeyBytes", most: 200_000 }]);
        return true;
      };
      const put = (key: string, bytes: number): Write => ({ type: "set", key, value: new Uint8Array(bytes) });
      const fill = async (bytes: number) => {
        for (let i = 0; i < 1000; i++) await a.keys.commit([put(`k${bytes}.${i}`, bytes)]);
      };
      for (const bytes of [50_000, 1000, 10]) await assert.rejects(fill(bytes), isFull);
      await assert.rejects(a.keys.commit([1, 2, 3, 4, 5].map((i) => put(`b${i}`, 50_000))), isFull);
      await assert.rejects(b.keys.commit([put("other", 50_000)]), isFull);
      for (let i = 0; i < 50; i++) assert.equal((await b.keys.get("k50000.0"))?.value.length, 50_000);
      await commitWrites(b.keys, { type: "delete", key: "k50000.0" }, { type: "delete", key: "k50000.1" });
      for (let i = 0; i < 20; i++) await commitWrites(b.keys, put("k", 40_000));
    });

    test("commit() of more messages than a batch takes fails as full, and writes nothing", async () => {
      const { keys } = await open();
      const writes = Array.from({ length: 1001 }, (_, i) => set(`k${i}`));
      await assert.rejects(
        () => keys.commit(writes),
        (error) => error instanceof EngineFault && error.reason === "full" && error.limit?.most === 1000,
      );
      assert.deepEqual(await keysOf(keys, ""), []);
      await commitWrites(keys, ...writes.slice(1));
    });
  });

  describe("without the cluster", () => {
    test("every operation fails as unavailable within waitMs, and works when it is back", {
      timeout: 20_000,
    }, async () => {
      const { keys } = await openLinked({ waitMs: 1000 });
      const changes = reader(keys.watch("", new AbortController().signal));
      // A watch that has not begun yet would fail like a call.
      await commitWrites(keys, set("k"));
      assert.equal(keyOf(await changes.next()), "k");
      link.refuse();
      await sleep(50);
      const startMs = performance.now();
      const calls: Record<string, () => Promise<unknown>> = {
        get: () => keys.get("k"),
        getMany: () => keys.getMany(["k", "l"]),
        set: () => keys.commit([set("k")]),
        batch: () => keys.commit([set("k"), set("l")]),
        conditional: () => keys.commit([set("k", "v", { ifVersion: 1n })]),
        list: () => collect(keys.list("")),
        watch: () => collect(keys.watch("new\0", new AbortController().signal)),
      };
      await Promise.all(
        Object.entries(calls).map(([name, call]) =>
          assert.rejects(
            call,
            (error) => error instanceof EngineFault && error.reason === "unavailable",
            name,
          ),
        ),
      );
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs < 2500, `all had failed after ${tookMs} ms`);
      link.heal();
      await commitWrites(keys, set("after"));
      assert.equal(keyOf(await changes.next()), "after");
    });

    test("close() ends watches and calls that wait", { timeout: 20_000 }, async () => {
      const engine = await openLinked({ waitMs: 1000 });
      const changes = reader(engine.keys.watch("", new AbortController().signal));
      await changes.quiet();
      link.refuse();
      await sleep(50);
      const writing = assert.rejects(engine.keys.commit([set("k")]), EngineFault);
      const end = changes.end();
      await engine.close();
      await Promise.all([writing, end]);
      await assert.rejects(engine.keys.get("k"), EngineFault);
    });
  });
});

const keyOf = (change: Change): string => (change.type === "set" ? change.entry.key : change.key);

async function keysOf(keys: KeyStore, prefix: string, after?: string): Promise<string[]> {
  return (await collect(keys.list(prefix, after))).map(({ key }) => key);
}
