import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { test } from "vitest";
import { ResponseStatus } from "../../gen/atomix/pb/headers/headers_pb.js";
import { EntrySchema } from "../../gen/atomix/pb/map/map_pb.js";
import { createMap } from "../../src/client/map.js";
import { sleep } from "../../src/rpc/sleep.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { Backlog, splitBatches } from "../../src/server/services/map/batches.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import {
  contents,
  entryOf,
  fakeBackup,
  header,
  lasting,
  live,
  serve,
  serveHere,
} from "../support/map-servers.js";
import { until } from "../support/until.js";

const ELSEWHERE = "http://127.0.0.1:9";

test("a put is acknowledged when the backup has it, over real connections", async () => {
  await using backup = await serve({ primary: ELSEWHERE });
  await using primary = await serve({ backups: [backup.url] });
  for (let i = 0; i < 20; i++) {
    const version = await primary.map.put("k", i);
    assert.deepEqual(await contents(backup.engine), [`k=${i}@${version}`]);
  }
  await primary.map.remove("k");
  assert.deepEqual(await live(backup.engine), []);
  assert.deepEqual(primary.logged, []);
});

test("a put waits for the answers of all backups that are in sync", async () => {
  let answer = () => {};
  const gate = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const quick = fakeBackup();
  const slow = fakeBackup(async () => gate.then(() => ResponseStatus.OK));
  await using primary = serveHere(
    { backups: ["http://quick", "http://slow"] },
    { dial: (url) => (url === "http://slow" ? slow : quick).transport },
  );
  let acknowledged = false;
  const put = primary.map.put("k", 1).then(() => {
    acknowledged = true;
  });
  await until(() => quick.requests.length > 0 && slow.requests.length > 0);
  assert.equal((await primary.map.get("k"))?.value, 1, "what is committed can be read");
  assert.equal(acknowledged, false);
  answer();
  await put;
});

test("a backup that does not answer in time delays writes once", async () => {
  const mute = fakeBackup(() => new Promise(() => {}));
  await using primary = serveHere({ backups: [ELSEWHERE], ackTimeoutMs: 40 }, { dial: () => mute.transport });
  const startedAtMs = performance.now();
  await primary.map.put("k", 0);
  const firstMs = performance.now() - startedAtMs;
  assert.ok(firstMs >= 38, `${firstMs} ms`);
  await Promise.all(Array.from({ length: 20 }, (_, i) => primary.map.put("k", i)));
  assert.equal(primary.logged.length, 1);
  assert.match(primary.logged[0] ?? "", /out of sync/);
});

test("a backup that goes silent delays writes once", async () => {
  let silent = false;
  const falling = fakeBackup(() => (silent ? new Promise(() => {}) : Promise.resolve(ResponseStatus.OK)));
  await using primary = serveHere(
    { backups: [ELSEWHERE], ackTimeoutMs: 100 },
    { dial: () => falling.transport },
  );
  await primary.map.put("k", 0);
  // Longer than the wait for a new backup.
  await sleep(120);
  silent = true;
  const startedAtMs = performance.now();
  await primary.map.put("k", 1);
  assert.ok(performance.now() - startedAtMs >= 98);
  await Promise.all(Array.from({ length: 20 }, (_, i) => primary.map.put("k", i)));
  assert.equal(primary.logged.length, 1);
  assert.match(primary.logged[0] ?? "", /no answer within 100 ms/);
});

test("a new backup that takes long to fill delays writes no longer than one that does not answer", async () => {
  const engine = lasting();
  const before = serveHere({}, { engine });
  const texts = createMap<string>(before.server.transport(), "m");
  for (let i = 0; i < 4; i++) await texts.put(`large ${i}`, "x".repeat(700_000));
  await before.close();
  let answer = () => {};
  const gate = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const slow = fakeBackup(async () => {
    await Promise.race([gate, sleep(150)]);
    return ResponseStatus.OK;
  });
  await using primary = serveHere(
    { backups: [ELSEWHERE], ackTimeoutMs: 200 },
    { engine, dial: () => slow.transport },
  );
  await primary.map.put("k", 1);
  assert.ok(slow.requests.length <= 3, `it was filled by ${slow.requests.length} requests`);
  assert.match(primary.logged.join(), /out of sync/);
  answer();
  await until(() => primary.logged.some((line) => line.includes("in sync again")));
  assert.equal(slow.streams(), 1, "in the same stream");
});

test("while a backup is down, writes continue without it; when it is back, it gets all changes, deletions too", async () => {
  const engine = lasting();
  const backup = await serve({ primary: ELSEWHERE }, { engine });
  await using primary = await serve({ backups: [backup.url] });
  await primary.map.put("old", 1);
  const changed = await primary.map.put("changed", 1);
  await primary.map.put("gone", 1);
  await backup.close();
  await primary.map.put("changed", 2, { ifVersion: changed });
  await primary.map.remove("gone");
  await primary.map.put("new", 1);
  assert.match(primary.logged.join(), /out of sync/);
  assert.ok((await contents(primary.engine)).includes("gone-"), "remembered for the backup");
  await using back = await serve({ primary: ELSEWHERE }, { engine, port: backup.port });
  await until(() => primary.logged.some((line) => line.includes("in sync again")));
  assert.deepEqual(await live(back.engine), await live(primary.engine));
  const version = await primary.map.put("after", 1);
  assert.ok((await live(back.engine)).includes(`after=1@${version}`), "writes wait for it again");
});

test("deletions are kept until every backup has them, and no longer", async () => {
  const engine = lasting();
  await using steady = await serve({ primary: ELSEWHERE });
  const other = await serve({ primary: ELSEWHERE }, { engine });
  await using primary = await serve({ backups: [steady.url, other.url] });
  await primary.map.put("a", 1);
  await primary.map.remove("a");
  await until(async () => (await contents(primary.engine)).length === 0);
  assert.deepEqual(await contents(steady.engine), ["a-"]);
  await other.close();
  await primary.map.put("b", 1);
  await primary.map.remove("b");
  await primary.map.put("c", 1);
  await primary.map.remove("c");
  assert.deepEqual(await contents(primary.engine), ["b-", "c-"]);
  await using _back = await serve({ primary: ELSEWHERE }, { engine, port: other.port });
  await until(async () => (await contents(primary.engine)).length === 0);
  assert.equal(await primary.map.get("b"), undefined);
});

test("if the backups are removed from the configuration, kept deletions are dropped", async () => {
  const engine = lasting();
  const before = serveHere({ backups: [ELSEWHERE], ackTimeoutMs: 1 }, { engine });
  await before.map.put("a", 1);
  await before.map.remove("a");
  assert.deepEqual(await contents(engine), ["a-"]);
  await before.close();
  await using _after = serveHere({}, { engine });
  await until(async () => (await contents(engine)).length === 0);
});

test("a deletion is not undone by an older write that arrives later", async () => {
  await using backup = serveHere({ primary: ELSEWHERE });
  const late = [
    entryOf("k", [1, 1], 1),
    entryOf("k", [1, 3]),
    entryOf("k", [1, 2], 2),
    entryOf("x", [1, 4], 4),
  ];
  const answers = backup.wire.backup(
    (async function* () {
      for (const entry of late) yield { header, entries: [entry] };
    })(),
  );
  for await (const answer of answers) assert.equal(answer.header?.status, ResponseStatus.OK);
  assert.deepEqual(await contents(backup.engine), ["k-", "x=4@4"]);
});

test("a backup drops a deletion after a week", async () => {
  let nowMs = Date.now();
  const engine = memoryEngine({ now: () => nowMs });
  await using backup = serveHere({ primary: ELSEWHERE }, { engine });
  const requests = async function* () {
    yield { header, entries: [entryOf("k", [1, 1]), entryOf("stays", [1, 2], 2)] };
  };
  for await (const _ of backup.wire.backup(requests()));
  nowMs += 6 * 24 * 3_600_000;
  assert.deepEqual(await contents(engine), ["k-", "stays=2@2"]);
  nowMs += 2 * 24 * 3_600_000;
  assert.deepEqual(await contents(engine), ["stays=2@2"]);
});

test("a backup that takes over continues above every assigned version", async () => {
  const engine = lasting();
  const backup = await serve({ primary: ELSEWHERE }, { engine });
  const old = await serve({ backups: [backup.url] });
  const kept = await old.map.put("kept", 1);
  const removed = await old.map.put("removed", 1);
  await old.map.remove("removed");
  await backup.close();
  const unheard = await old.map.put("kept", 2);
  await using taken = await serve({ term: 2 }, { engine });
  assert.deepEqual(await taken.map.get("kept"), { key: "kept", value: 1, version: kept });
  assert.equal(await taken.map.get("removed"), undefined);
  await assert.rejects(taken.map.put("kept", 3, { ifVersion: unheard }), { code: Code.Aborted });
  const next = await taken.map.put("removed", 3);
  assert.ok(next > unheard && next > removed);
  await old.close();
});

test("a primary that was replaced learns it from its backup and stops", async () => {
  const engines = [lasting(), lasting(), lasting()];
  await using third = await serve({ primary: ELSEWHERE }, { engine: engines[2] });
  const second = await serve({ primary: ELSEWHERE }, { engine: engines[1] });
  await using first = await serve({ backups: [second.url, third.url] }, { engine: engines[0] });
  await first.map.put("k", 1);
  await second.close();
  await first.map.put("unheard", 1);
  await using promoted = await serve({ backups: [third.url], term: 2 }, { engine: engines[1] });
  const version = await promoted.map.put("k", 2);
  await assert.rejects(first.map.put("k", 3), { code: Code.Unavailable });
  await assert.rejects(first.map.get("k"), { code: Code.Unavailable });
  assert.match(first.logged.join(), /later primary/);
  assert.equal((await promoted.map.get("k"))?.version, version);
  assert.ok((await live(third.engine)).includes(`k=2@${version}`));
});

test("a former primary returns as a backup, and its writes that no backup had are dropped", async () => {
  const engines = [lasting(), lasting()];
  const second = await serve({ primary: ELSEWHERE }, { engine: engines[1] });
  const first = await serve({ backups: [second.url] }, { engine: engines[0] });
  await first.map.put("k", 1);
  await second.close();
  await first.map.put("k", 99);
  await first.close();
  await using back = await serve({ primary: second.url }, { engine: engines[0] });
  await using promoted = await serve(
    { backups: [back.url], term: 2 },
    { engine: engines[1], port: second.port },
  );
  await until(async () => (await live(back.engine)).join() === (await live(promoted.engine)).join());
  assert.deepEqual(await live(back.engine), ["k=1@1"]);
  const facts = await back.map.get("k").catch((error: unknown) => error);
  assert.ok(facts instanceof ConnectError && facts.code === Code.Unavailable);
});

test("a new primary fills its backups before the first write", async () => {
  const engine = lasting();
  const before = serveHere({}, { engine });
  for (const map of ["m", "n"]) await createMap<number>(before.server.transport(), map).put("k", 1);
  await before.close();
  await using backup = await serve({ primary: ELSEWHERE });
  await using _primary = await serve({ backups: [backup.url], term: 2 }, { engine });
  await until(async () => (await live(backup.engine)).length === 2);
});

test("a server whose engine has seen a later term does not lead when it is started in an earlier one", async () => {
  const engine = lasting();
  const before = serveHere({ term: 3 }, { engine });
  await before.map.put("k", 1);
  await before.close();
  const recorded = fakeBackup();
  await using late = serveHere({ term: 2, backups: [ELSEWHERE] }, { engine, dial: () => recorded.transport });
  await assert.rejects(late.map.put("k", 2), { code: Code.Unavailable });
  await assert.rejects(late.map.get("k"), { code: Code.Unavailable });
  assert.equal(recorded.streams(), 0);
});

test("many partitions are backed up over one connection", async () => {
  await using backup = await serve({ primary: ELSEWHERE });
  await using primary = await serve({ backups: [backup.url] });
  const partitions = Array.from({ length: 110 }, (_, i) => ({ ...header, partition: i + 1 }));
  await Promise.all(partitions.map((header) => primary.wire.put({ header, key: "k", value: {} })));
  assert.equal((await live(backup.engine)).length, 110);
  assert.deepEqual(primary.logged, []);
});

test("a primary that receives changes of a later term steps down, and with those of an earlier term it does not", async () => {
  const recorded = fakeBackup();
  await using primary = serveHere({ backups: [ELSEWHERE], term: 2 }, { dial: () => recorded.transport });
  await primary.map.put("k", 1);
  const send = async (term: number) => {
    const requests = async function* () {
      yield { header, entries: [entryOf("k", [term, 50], 5)] };
    };
    for await (const answer of primary.wire.backup(requests())) return answer.header?.status;
    return undefined;
  };
  assert.deepEqual([await send(1), await send(2)], [ResponseStatus.ERROR, ResponseStatus.ERROR]);
  await primary.map.put("k", 2);
  assert.equal(await send(3), ResponseStatus.OK);
  await assert.rejects(primary.map.put("k", 3), { code: Code.Unavailable });
  assert.match(primary.logged.join(), /later primary/);
});

test("changes that are too many for one request are sent in several", async () => {
  const engine = lasting();
  const before = serveHere({}, { engine });
  const texts = createMap<string>(before.server.transport(), "m");
  const keys = Array.from({ length: 300 }, (_, i) => `k${i}`);
  await Promise.all(keys.map((key) => texts.put(key, key)));
  for (const key of ["large 1", "large 2", "large 3"]) await texts.put(key, "x".repeat(700_000));
  await before.close();
  const recorded = fakeBackup();
  await using primary = serveHere({ backups: [ELSEWHERE] }, { engine, dial: () => recorded.transport });
  await primary.map.put("last", 1);
  const sent = recorded.requests.map(({ entries }) => entries.map(({ key }) => key));
  assert.equal(new Set(sent.flat()).size, 304);
  assert.ok(Math.max(...sent.map(({ length }) => length)) <= 256);
  assert.ok(sent.every((keys) => keys.filter((key) => key.startsWith("large")).length <= 1));
});

test("all connections are cut during writes: the backup has all changes in the end", async () => {
  await using backup = await serve({ primary: ELSEWHERE });
  await using way = await openCuttableProxy(backup.port);
  await using primary = await serve({ backups: [way.url] });
  let writing = true;
  const writers = Array.from({ length: 4 }, async (_, w) => {
    for (let i = 0; writing; i++) {
      if (i % 3 === 2) await primary.map.remove(`${w}-${i % 7}`);
      else await primary.map.put(`${w}-${i % 7}`, i);
      // Calls in this process do not yield to the event loop, which the connections need.
      await setImmediate();
    }
  });
  for (let cuts = 0; cuts < 5; cuts++) {
    await sleep(20);
    way.cut();
  }
  writing = false;
  await Promise.all(writers);
  await until(async () => (await live(backup.engine)).join() === (await live(primary.engine)).join());
  await until(async () => (await contents(primary.engine)).every((entry) => !entry.endsWith("-")));
});

test("a closing primary does not acknowledge writes that its backup does not have", async () => {
  const mute = fakeBackup(() => new Promise(() => {}));
  const primary = await serve({ backups: [ELSEWHERE], ackTimeoutMs: 10_000 }, { dial: () => mute.transport });
  await using transport = createNodeTransport(primary.url);
  const map = createMap<number>(transport, "m");
  const put = map.put("k", 1);
  await until(() => mute.requests.length > 0);
  const refused = assert.rejects(put, { code: Code.Unavailable });
  await primary.close();
  await refused;
});

test("a closing backup ends its primaries' streams at once", async () => {
  const backup = await serve({ primary: ELSEWHERE });
  await using primary = await serve({ backups: [backup.url] });
  await primary.map.put("k", 1);
  const startedAtMs = performance.now();
  await backup.close();
  assert.ok(performance.now() - startedAtMs < 2500, "without waiting for the grace period");
  await primary.map.put("k", 2);
});

test("a runtime that cannot dial its backups logs it and continues", async () => {
  const dial = () => {
    throw new TypeError("no gRPC here");
  };
  await using primary = serveHere({ backups: [ELSEWHERE] }, { dial });
  assert.equal(await primary.map.put("k", 1), 1n);
  assert.match(primary.logged.join(), /no gRPC here/);
});

test("the backlog of a backup drops everything beyond its bounds, and returns what fits into one request", async () => {
  const entry = (key: string, bytes = 0) =>
    create(EntrySchema, { key, value: { value: new Uint8Array(bytes) }, digest: {} });
  const backlog = new Backlog();
  backlog.push([entry("early")]);
  assert.deepEqual([backlog.dropping, backlog.take()], [true, []], "it does not collect yet");
  backlog.restart();
  backlog.push([entry("a", 600_000), entry("b", 600_000), entry("c")]);
  assert.deepEqual(
    [backlog.take(), backlog.take(), backlog.take()].map((batch) => batch.map(({ key }) => key).join()),
    ["a", "b,c", ""],
  );
  for (let i = 0; i < 40; i++) backlog.push([entry("large", 1024 ** 2)]);
  assert.deepEqual([backlog.dropping, backlog.take()], [true, []]);
  backlog.restart();
  backlog.push(Array.from({ length: 8193 }, (_, i) => entry(`${i}`)));
  assert.equal(backlog.dropping, true);
  const stored = async function* () {
    for (let i = 0; i < 600; i++) yield entry(`${i}`);
  };
  const sizes: number[] = [];
  for await (const batch of splitBatches(stored())) sizes.push(batch.length);
  assert.deepEqual(sizes, [256, 256, 88]);
});
