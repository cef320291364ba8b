import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { ClassicLevel } from "classic-level";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { neverAborts, waitUntilAfter } from "../../src/conformance/engine/timing.js";
import { commitWrites, set } from "../../src/conformance/engine/writes.js";
import { engineConformance } from "../../src/conformance/engine.js";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import type { Logger } from "../../src/server/context.js";
import { type Engine, EngineFault } from "../../src/server/engine.js";
import { backUpFolder } from "../../src/server/engines/disk/backup-folder.js";
import { checkFolder } from "../../src/server/engines/disk/check.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { nodeFiles } from "../../src/server/engines/disk/files.js";
import { FORMAT, prepareFolder } from "../../src/server/engines/disk/folder.js";
import { restore } from "../../src/server/engines/disk/restore.js";
import { fill, SMALL, texts } from "../disk/fill.js";
import { until } from "../support/until.js";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

const fresh = () => join(folder, `${++count}`);

const plain = { metadata: {}, ifAbsent: false };

async function* content(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The bytes of all files in the folder. */
async function sizeOf(path: string): Promise<number> {
  const files = await readdir(path, { recursive: true, withFileTypes: true });
  const sizes = files
    .filter((file) => file.isFile())
    .map(async (file) => (await stat(join(file.parentPath, file.name)).catch(() => ({ size: 0 }))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

// A retry must not be due while the answers of other events are being synced.
const timing = { shortMs: 200 };

describe("as every engine", () => engineConformance(test, () => openDiskEngine({ folder: fresh() }), timing));

describe("as every engine, with small tables and segments", () =>
  engineConformance(test, () => openDiskEngine({ folder: fresh(), ...SMALL }), timing));

describe("over restarts", () => {
  test("keys, their versions and their order stay; versions continue from the highest", async () => {
    const data = fresh();
    const names = Array.from({ length: 500 }, (_, i) => `k${String(i).padStart(3, "0")}`);
    let newest = 0n;
    for (let life = 0; life < 4; life++) {
      await using engine = await openDiskEngine({ folder: data, ...SMALL });
      for (const name of names.filter((_, i) => i % 4 === life || i % 7 === 0)) {
        const version = await commitWrites(engine.keys, set(name, `${life}:${"x".repeat(300)}`));
        assert.ok(version > newest);
        newest = version;
      }
      await commitWrites(engine.keys, { type: "delete", key: `k00${life + 1}` });
    }
    await using engine = await openDiskEngine({ folder: data, ...SMALL });
    const found = (await collect(engine.keys.list("k"))).map(({ key }) => key);
    assert.deepEqual(
      found,
      names.filter((name) => name !== "k004"),
    );
    assert.match(fromUtf8((await engine.keys.get("k007"))?.value ?? utf8("")), /^3:/);
    assert.ok((await commitWrites(engine.keys, set("new"))) > newest);
  });

  test("a key expires on time, whether the engine is open then or not, and watchers are notified", async () => {
    const data = fresh();
    const before = await openDiskEngine({ folder: data });
    await commitWrites(before.keys, set("soon", "v", { ttlMs: 60 }), set("later", "v", { ttlMs: 700 }));
    await commitWrites(before.keys, set("lease", "owner", { ttlMs: 60_000 }));
    const [soon, lease] = await before.keys.getMany(["soon", "lease"]);
    await before.close();
    await waitUntilAfter(soon?.expiresAtMs ?? 0);
    await using engine = await openDiskEngine({ folder: data });
    assert.equal(await engine.keys.get("soon"), undefined);
    assert.deepEqual(await engine.keys.get("lease"), lease);
    const changes = reader(engine.keys.watch("later", neverAborts()));
    assert.deepEqual(await changes.next(), { type: "delete", key: "later" });
    assert.deepEqual(
      (await collect(engine.keys.list(""))).map(({ key }) => key),
      ["lease"],
    );
  });

  test("expired keys free their space", async () => {
    const data = fresh();
    await using engine = await openDiskEngine({ folder: data, ...SMALL });
    const fill = async (ttlMs: number) => {
      for (let i = 0; i < 10; i++) {
        const keys = Array.from({ length: 200 }, (_, j) =>
          set(`k${Math.random()}.${i}.${j}`, "x".repeat(500), { ttlMs }),
        );
        await commitWrites(engine.keys, ...keys);
      }
    };
    for (let round = 0; round < 7; round++) {
      await fill(30);
      await later(60);
    }
    // At most two of seven rounds: the current one, and one that compaction has not removed yet.
    await until(async () => (await sizeOf(data)) < 2 * 2000 * 550);
  });

  test("records, their offsets and timestamps stay, and dropped records stay dropped", async () => {
    const data = fresh();
    const before = await openDiskEngine({ folder: data, ...SMALL });
    for (let i = 0; i < 300; i += 3) {
      const three = [i, i + 1, i + 2].map((n) => utf8(`${n}:${"x".repeat(200)}`));
      await before.logs.append("l", three);
    }
    await before.logs.append("by age", [utf8("old")]);
    await before.logs.retain("by age", { maxAgeMs: 80 });
    await before.logs.retain("l", { maxRecords: 100 });
    const times = await before.logs.seek("l", 0);
    assert.equal(times, 201n);
    await before.close();
    await using engine = await openDiskEngine({ folder: data, ...SMALL });
    const { logs } = engine;
    assert.deepEqual(await logs.bounds("l"), { first: 201n, next: 301n });
    assert.deepEqual(
      (await texts(logs, "l")).map((text) => text.split(":")[0]),
      Array.from({ length: 100 }, (_, i) => `${i + 200}`),
    );
    await logs.retain("l", {});
    assert.equal((await logs.bounds("l")).first, 201n);
    assert.deepEqual(await logs.append("l", [utf8("new")]), { first: 301n, last: 301n });
    await later(100);
    assert.deepEqual(await logs.bounds("by age"), { first: 2n, next: 2n });
    assert.deepEqual(await logs.append("by age", [utf8("new")]), { first: 2n, last: 2n });
  });

  test("records that retention has dropped free their space", async () => {
    const data = fresh();
    await using engine = await openDiskEngine({ folder: data, ...SMALL });
    await engine.logs.retain("bytes", { maxBytes: 50_000 });
    await engine.logs.retain("records", { maxRecords: 50 });
    await engine.logs.retain("age", { maxAgeMs: 30 });
    for (let i = 0; i < 100; i++) {
      const three = [patternBytes(1000, i), patternBytes(1000, i + 1), patternBytes(1000, i + 2)];
      await Promise.all(["bytes", "records", "age"].map((log) => engine.logs.append(log, three)));
    }
    await later(40);
    await engine.logs.append("age", [patternBytes(1)]);
    assert.ok((await sizeOf(join(data, "logs"))) < 50_000 + 50 * 1000 + 5 * 16_384);
  });

  test("events wait, with their attempts and delays, and groups stay", async () => {
    const data = fresh();
    const before = await openDiskEngine({ folder: data });
    const events = reader(before.topics.consume("t", "g", neverAborts()));
    before.topics.consume("t", "other", AbortSignal.abort());
    await before.topics.publish("t", ["1", "2", "3", "4"].map(utf8));
    await (await events.next()).ack();
    await (await events.next()).retry(2000);
    await events.next();
    await before.close();
    await using engine = await openDiskEngine({ folder: data });
    await engine.topics.publish("t", [utf8("5")]);
    const again = reader(engine.topics.consume("t", "g", neverAborts()));
    const seen: string[] = [];
    for (let i = 0; i < 4; i++) {
      const event = await again.next();
      seen.push(`${fromUtf8(event.value)}#${event.attempt}`);
      await event.ack();
    }
    assert.deepEqual(seen, ["3#2", "4#1", "5#1", "2#2"]);
    const other = reader(engine.topics.consume("t", "other", neverAborts()));
    for (const text of ["1", "2", "3", "4", "5"]) assert.equal(fromUtf8((await other.next()).value), text);
  });

  test("a group that events wait for is kept, however long the engine was closed", async () => {
    const data = fresh();
    const before = await openDiskEngine({ folder: data });
    const enough = new AbortController();
    const leaving = reader(before.topics.consume("t", "g", enough.signal));
    await before.topics.publish("t", ["1", "2", "3"].map(utf8));
    await leaving.next();
    await before.close();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 25 * 3_600_000 });
    try {
      await using engine = await openDiskEngine({ folder: data });
      await later(20);
      const events = reader(engine.topics.consume("t", "g", neverAborts()));
      for (const text of ["1", "2", "3"]) assert.equal(fromUtf8((await events.next()).value), text);
    } finally {
      vi.useRealTimers();
    }
  });

  test("a group without consumer and events is forgotten after groupIdleMs, in which its engine was open", async () => {
    const data = fresh();
    const limits = { folder: data, maxGroups: 1, groupIdleMs: 300 };
    const refused = (engine: Engine) => {
      const other = () => engine.topics.consume("t", "other", AbortSignal.abort());
      assert.throws(other, { name: "EngineFault", limit: { name: "maxGroups", most: 1 } });
    };
    {
      await using engine = await openDiskEngine(limits);
      engine.topics.consume("t", "g", AbortSignal.abort());
      await later(100);
    }
    await later(350);
    await using engine = await openDiskEngine(limits);
    refused(engine);
    const openedMs = performance.now();
    await vi.waitFor(() => engine.topics.consume("t", "other", AbortSignal.abort()), 1000);
    // The idle time before the restart counts.
    assert.ok(performance.now() - openedMs < 280, `${performance.now() - openedMs} ms`);
  });

  test("groupBacklogIdleMs: events of a group without a consumer are dropped then, and their number is logged", async () => {
    const warn = vi.fn<Logger["warn"]>();
    const log = { warn, info() {} };
    const before = await openDiskEngine({ folder: fresh(), groupIdleMs: 10, groupBacklogIdleMs: 60, log });
    await using engine = before;
    engine.topics.consume("pubsub\0t", "g", AbortSignal.abort());
    await engine.topics.publish("pubsub\0t", ["1", "2", "3"].map(utf8));
    await vi.waitFor(() => assert.equal(warn.mock.calls.length, 1));
    assert.deepEqual(warn.mock.calls[0]?.[0], { pubsub: "pubsub", topic: "t", group: "g", events: 3 });
    const events = reader(engine.topics.consume("pubsub\0t", "g", neverAborts()));
    await engine.topics.publish("pubsub\0t", [utf8("new")]);
    assert.equal(fromUtf8((await events.next()).value), "new");
  });

  test("a backlog that does not fit in memory is delivered in order", async () => {
    const data = fresh();
    const before = await openDiskEngine({ folder: data, ...SMALL });
    before.topics.consume("t", "g", AbortSignal.abort());
    const ids = Array.from({ length: 3000 }, (_, i) => `${i}`);
    for (let i = 0; i < ids.length; i += 100)
      await before.topics.publish("t", ids.slice(i, i + 100).map(utf8));
    await before.close();
    await using engine = await openDiskEngine({ folder: data, ...SMALL });
    await engine.topics.publish("t", [utf8("last")]);
    const events = reader(engine.topics.consume("t", "g", neverAborts()));
    const acks: Promise<void>[] = [];
    for (const id of [...ids, "last"]) {
      const event = await events.next();
      assert.equal(fromUtf8(event.value), id);
      acks.push(event.ack());
    }
    await Promise.all(acks);
    await events.quiet();
  });

  test("blobs stay, and files without a blob are removed", async () => {
    const data = fresh();
    const before = await openDiskEngine({ folder: data });
    const info = await before.blobs.put("b", content(patternBytes(100_000)), plain);
    await before.close();
    await mkdir(join(data, "blobs/ab"), { recursive: true });
    await writeFile(join(data, "blobs/ab", "ab".repeat(16)), "left behind");
    await writeFile(join(data, "blobs/aside", "cd".repeat(16)), "half");
    // Like the file of a killed process.
    await writeFile(join(data, "lock"), JSON.stringify({ id: "x", pid: 2 ** 22 + 1, host: hostname() }));
    const engine = await openDiskEngine({ folder: data });
    assert.deepEqual(await engine.blobs.stat("b"), info);
    const found = await engine.blobs.get("b");
    assert.deepEqual(
      Buffer.concat(await collect(found?.content ?? content(patternBytes(0)))),
      Buffer.from(patternBytes(100_000)),
    );
    for (const left of ["blobs/ab", "blobs/aside"]) {
      await vi.waitFor(async () => assert.deepEqual(await readdir(join(data, left)), []));
    }
    await engine.close();
  });

  test("every range of a blob of many blocks has the stored bytes", async () => {
    await using engine = await openDiskEngine({ folder: fresh() });
    const bytes = patternBytes(3_000_000);
    await engine.blobs.put("b", content(bytes), plain);
    const edges = [0, 1, 262_143, 262_144, 262_145, 1_048_576, 2_999_999];
    for (const offset of edges) {
      for (const length of [1, 262_144, 1_048_577, 3_000_000]) {
        const found = await engine.blobs.get("b", { offset, length });
        const read = Buffer.concat(await collect(found?.content ?? content(patternBytes(0))));
        assert.ok(read.equals(bytes.subarray(offset, offset + length)), `${length} bytes from ${offset} on`);
      }
    }
  });

  test("concurrent writes share a sync", async () => {
    let syncs = 0;
    const files: typeof nodeFiles = {
      ...nodeFiles,
      async open(path, flags) {
        const file = await nodeFiles.open(path, flags);
        const sync = () => {
          syncs++;
          return file.sync();
        };
        return {
          fd: file.fd,
          sync,
          write: file.write.bind(file),
          truncate: file.truncate.bind(file),
          close: file.close.bind(file),
        };
      },
    };
    await using engine = await openDiskEngine({ folder: fresh(), files });
    await engine.logs.append("l", [utf8("first")]);
    syncs = 0;
    await Promise.all(Array.from({ length: 500 }, (_, i) => commitWrites(engine.keys, set(`k${i}`))));
    await Promise.all(Array.from({ length: 500 }, (_, i) => engine.logs.append("l", [utf8(`${i}`)])));
    assert.ok(syncs <= 4, `${syncs} syncs`);
  });
});

describe("bounds", () => {
  const isFull = (name: string, most: number) => (error: unknown) => {
    assert.ok(error instanceof EngineFault);
    assert.deepEqual([error.reason, error.limit], ["full", { name, most }]);
    return true;
  };
  const value = "x".repeat(1000);

  test("maxKeyBytes: a commit beyond it changes nothing; replacing, deleting and expiry free room", async () => {
    const data = fresh();
    const most = 3 * (32 + 1 + 1000);
    const limits = { folder: data, maxKeyBytes: most };
    {
      await using engine = await openDiskEngine(limits);
      const { keys } = engine;
      await commitWrites(keys, set("a", value), set("b", value, { ttlMs: 300 }));
      await assert.rejects(keys.commit([set("c", value), set("d", value)]), isFull("maxKeyBytes", most));
      assert.deepEqual(await keys.getMany(["c", "d"]), [undefined, undefined]);
      // Concurrent writes, of which one fits.
      const both = await Promise.allSettled([keys.commit([set("c", value)]), keys.commit([set("d", value)])]);
      assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
      for (let i = 0; i < 5; i++) await commitWrites(keys, set("a", value));
      await assert.rejects(keys.commit([set("a", `${value}x`)]), isFull("maxKeyBytes", most));
    }
    await using engine = await openDiskEngine(limits);
    const { keys } = engine;
    await assert.rejects(keys.commit([set("e", `${value}x`)]), isFull("maxKeyBytes", most));
    await until(async () => (await keys.get("b")) === undefined);
    await until(async () => "version" in (await keys.commit([set("e", value)]).catch(() => ({}))));
    await commitWrites(keys, { type: "delete", key: "a" }, set("f", value));
    await assert.rejects(keys.commit([set("g", "")]), isFull("maxKeyBytes", most));
  });

  test("maxLogBytes: an append beyond it appends nothing; a log's retention frees room", async () => {
    const data = fresh();
    const most = 50_000;
    const limits = { folder: data, maxLogBytes: most, segmentBytes: 10_000 };
    const append = (engine: Engine, log: string) => engine.logs.append(log, [utf8(value)]);
    const fill = async (engine: Engine) => {
      for (;;) await append(engine, "l");
    };
    {
      await using engine = await openDiskEngine(limits);
      await engine.logs.retain("kept short", { maxRecords: 1 });
      await assert.rejects(fill(engine), isFull("maxLogBytes", most));
      const { next } = await engine.logs.bounds("l");
      assert.ok(next > 40n && next < 50n, `${next}`);
      assert.equal((await texts(engine.logs, "l")).length, Number(next) - 1);
    }
    await using engine = await openDiskEngine(limits);
    await assert.rejects(append(engine, "l"), isFull("maxLogBytes", most));
    assert.ok((await sizeOf(join(data, "logs"))) <= most);
    await engine.logs.retain("l", { maxRecords: 10 });
    for (let i = 0; i < 100; i++) await append(engine, "l");
    assert.equal((await texts(engine.logs, "l")).length, 10);
  });

  test("maxBlobBytes: a blob beyond it is not stored; replacing and deleting free room", async () => {
    const data = fresh();
    const most = 1_000_000;
    const limits = { folder: data, maxBlobBytes: most };
    {
      await using engine = await openDiskEngine(limits);
      const { blobs } = engine;
      await blobs.put("a", content(patternBytes(400_000)), plain);
      await assert.rejects(
        blobs.put("b", content(patternBytes(600_001)), plain),
        isFull("maxBlobBytes", most),
      );
      assert.equal(await blobs.stat("b"), undefined);
      await blobs.put("b", content(patternBytes(300_000)), plain);
      for (let i = 0; i < 5; i++) await blobs.put("b", content(patternBytes(300_000, i)), plain);
      // Both are written at the same time.
      const two = [
        blobs.put("c", content(patternBytes(200_000)), plain),
        blobs.put("d", content(patternBytes(200_000)), plain),
      ];
      assert.deepEqual((await Promise.allSettled(two)).map(({ status }) => status).sort(), [
        "fulfilled",
        "rejected",
      ]);
    }
    await using engine = await openDiskEngine(limits);
    const { blobs } = engine;
    await assert.rejects(blobs.put("e", content(patternBytes(100_001)), plain), isFull("maxBlobBytes", most));
    assert.deepEqual(await readdir(join(data, "blobs/aside")), []);
    await blobs.delete("a");
    await blobs.put("e", content(patternBytes(500_000)), plain);
    const backup = fresh();
    await engine.backup(backup);
    await using copy = await openDiskEngine({ ...limits, folder: backup });
    await assert.rejects(copy.blobs.put("f", content(patternBytes(1)), plain), isFull("maxBlobBytes", most));
  });

  test("a folder of a version that did not count is counted when it is opened", async () => {
    const data = fresh();
    const limits = { folder: data, maxKeyBytes: 1040, maxBlobBytes: 100 };
    {
      await using engine = await openDiskEngine(limits);
      await commitWrites(engine.keys, set("a", value));
      await engine.blobs.put("b", content(patternBytes(100)), plain);
    }
    const db = new ClassicLevel<string, Buffer>(join(data, "tree"), { valueEncoding: "buffer" });
    const books = (await db.get("c")) ?? Buffer.alloc(0);
    const counter = books.subarray(4, 12);
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(crc32(counter, crc32("c")));
    await db.put("c", Buffer.concat([sum, counter]));
    await db.close();
    await using engine = await openDiskEngine(limits);
    await assert.rejects(engine.keys.commit([set("b", "")]), isFull("maxKeyBytes", 1040));
    await assert.rejects(engine.blobs.put("c", content(patternBytes(1)), plain), isFull("maxBlobBytes", 100));
  });
});

describe("the folder", () => {
  test("can be opened by one engine: another fails with the holder's name until it closes", async () => {
    const data = fresh();
    const engine = await openDiskEngine({ folder: data });
    const taken = new RegExp(`Cannot open the data folder ".*": process ${process.pid} has it open`);
    await assert.rejects(openDiskEngine({ folder: data }), { name: "FolderError", message: taken });
    await assert.rejects(checkFolder(data), { message: taken });
    await engine.close();
    await (await openDiskEngine({ folder: data })).close();
  });

  test("is unlocked when its process has ended, also if that had our process id", async () => {
    for (const pid of [process.pid, 2 ** 22 + 1, 1]) {
      const data = fresh();
      await (await openDiskEngine({ folder: data })).close();
      await writeFile(join(data, "lock"), JSON.stringify({ id: "gone", pid, host: hostname() }));
      await (await openDiskEngine({ folder: data })).close();
    }
  });

  test("stays locked while its holder on another machine renews the lock", async () => {
    const data = fresh();
    await (await openDiskEngine({ folder: data })).close();
    const lock = join(data, "lock");
    const beat = setInterval(
      () => void writeFile(lock, JSON.stringify({ id: "far", pid: 7, host: "elsewhere" })),
      100,
    );
    try {
      await later(150);
      await assert.rejects(openDiskEngine({ folder: data }), /process 7 on elsewhere has it open/);
    } finally {
      clearInterval(beat);
    }
  });

  test("of a newer format is refused, and so is the folder of another program", async () => {
    const data = fresh();
    await (await openDiskEngine({ folder: data })).close();
    await writeFile(join(data, "format.json"), JSON.stringify({ format: FORMAT + 1 }));
    await assert.rejects(
      openDiskEngine({ folder: data }),
      /its format is 2, a newer version's; this one reads up to 1/,
    );
    await writeFile(join(data, "format.json"), "{}");
    await assert.rejects(openDiskEngine({ folder: data }), /it has no format/);
    await rm(join(data, "format.json"));
    await assert.rejects(openDiskEngine({ folder: data }), /format.json is missing/);
    const other = fresh();
    await mkdir(other);
    await writeFile(join(other, "thesis.txt"), "my only copy");
    await assert.rejects(openDiskEngine({ folder: other }), /it has other things in it, as "thesis.txt"/);
    assert.deepEqual(await readdir(other), ["thesis.txt"]);
  });

  test("of an older format is migrated, step by step", async () => {
    const data = fresh();
    await (await openDiskEngine({ folder: data })).close();
    await writeFile(join(data, "format.json"), JSON.stringify({ format: FORMAT - 2 }));
    await assert.rejects(openDiskEngine({ folder: data }), /nothing reads its format -1 any more/);
    const steps: number[] = [];
    const step = (format: number) => async () => {
      steps.push(format);
    };
    await prepareFolder(nodeFiles, data, { [FORMAT - 2]: step(-1), [FORMAT - 1]: step(0) });
    assert.deepEqual(steps, [-1, 0]);
    await (await openDiskEngine({ folder: data })).close();
  });

  test("cannot be a file, and says so", async () => {
    const data = fresh();
    await writeFile(data, "");
    await assert.rejects(openDiskEngine({ folder: data }), { name: "FolderError" });
  });
});

describe("backup and restore", () => {
  test("a backup of a running engine has the state at one moment", async () => {
    const data = await fill(fresh());
    const engine = await openDiskEngine({ folder: data, ...SMALL });
    const enough = new AbortController();
    const writing = (async () => {
      for (let i = 0; !enough.signal.aborted; i++) {
        await commitWrites(engine.keys, set("a", `${i}`), set("b", `${i}`));
        await engine.logs.append("l2", [utf8(`${i}`)]);
        await engine.blobs.put("turning", content(patternBytes(1 + (i % 1000), i)), {
          metadata: { i: `${i}` },
          ifAbsent: false,
        });
      }
    })();
    await later(50);
    const [copy, restored] = [fresh(), fresh()];
    await backUpFolder(data, copy);
    enough.abort();
    await writing;
    await engine.close();
    assert.deepEqual((await checkFolder(copy)).damaged, []);
    await restore(copy, restored);
    await using again = await openDiskEngine({ folder: restored, ...SMALL });
    const [a, b] = await again.keys.getMany(["a", "b"]);
    assert.ok(a && b);
    assert.deepEqual(a.value, b.value);
    assert.equal((await collect(again.keys.list("k"))).length, 300);
    assert.equal((await again.logs.bounds("l")).next, 101n);
    const written = await texts(again.logs, "l2");
    assert.ok(Math.abs(written.length - Number(fromUtf8(a.value))) <= 1);
    const blob = await again.blobs.get("turning");
    assert.ok(blob);
    const i = Number(blob.info.metadata["i"]);
    assert.deepEqual(
      Buffer.concat(await collect(blob.content)),
      Buffer.from(patternBytes(1 + (i % 1000), i)),
    );
    assert.ok((await commitWrites(again.keys, set("c"))) > a.version);
    const events = reader(again.topics.consume("t", "g", neverAborts()));
    assert.equal(fromUtf8((await events.next()).value), "1");
  });

  test("of a closed folder works, too", async () => {
    const [data, copy] = [await fill(fresh()), fresh()];
    await backUpFolder(data, copy);
    await using engine = await openDiskEngine({ folder: copy });
    assert.equal((await collect(engine.keys.list("k"))).length, 300);
  });

  test("refuse a folder that is not a data folder, a target that is not empty, and an incomplete backup", async () => {
    const data = await fill(fresh());
    await assert.rejects(backUpFolder(fresh(), fresh()), /it is not a data folder/);
    const occupied = fresh();
    await mkdir(occupied);
    await writeFile(join(occupied, "x"), "");
    await assert.rejects(backUpFolder(data, occupied), /it is not empty, "x" is there/);
    await assert.rejects(restore(data, occupied), /it is not empty, "x" is there/);
    const half = fresh();
    await cp(data, half, { recursive: true });
    await rm(join(half, "format.json"));
    await assert.rejects(restore(half, fresh()), /Cannot restore from ".*": .*format.json is missing/);
    await using engine = await openDiskEngine({ folder: data });
    await assert.rejects(restore(data, fresh()), /has it open; make a backup of it first/);
    await assert.rejects(engine.backup(occupied), /it is not empty/);
  });
});
