import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { all, committed, never, pattern, reader, set } from "../src/conformance/engine/steps.js";
import { utf8 } from "../src/internal/utf8.js";
import { EngineFault } from "../src/server/engine.js";
import { openDiskEngine } from "../src/server/engines/disk/engine.js";
import { LossyFiles, type Refuse, systemError } from "./disk/lossy-files.js";

const SMALL = { memtableBytes: 128 * 1024, cacheBytes: 64 * 1024, segmentBytes: 32 * 1024 };

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

async function open() {
  const data = join(folder, `${++count}`);
  const files = new LossyFiles(data);
  const engine = await openDiskEngine({ folder: data, files, ...SMALL });
  const reopen = async () => {
    await engine.close();
    return openDiskEngine({ folder: data, ...SMALL });
  };
  return { engine, files, data, reopen };
}

const isFault = (reason: "full" | "away", why: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineFault, String(error));
  assert.equal(error.reason, reason);
  assert.match(error.message, why);
  return true;
};

const once = async function* (bytes: Uint8Array) {
  yield bytes;
};
const plain = { metadata: {}, ifAbsent: false };
const on = (calls: string[], code: string): Refuse => {
  return (call) => (calls.includes(call) ? systemError(code) : undefined);
};

describe.each([
  ["a full disk", ["write"], "ENOSPC", "full", /the disk is full/],
  ["a used up quota", ["write"], "EDQUOT", "full", /quota is used up/],
  ["a read-only disk", ["write", "open", "rename", "mkdir", "unlink"], "EROFS", "away", /read-only/],
] as const)("%s", (_, calls, code, reason, why) => {
  test("every write fails and says why, nothing of it is there, and what was there stays", async () => {
    const { engine, files, reopen } = await open();
    const { keys, logs, topics, blobs } = engine;
    const version = await committed(keys, set("k", "old"));
    await logs.append("l", [utf8("old")]);
    const events = reader(topics.consume("t", "g", never()));
    await topics.publish("t", [utf8("1"), utf8("2")]);
    const first = await events.next();
    await blobs.put("b", once(utf8("old")), plain);

    files.refuse = on([...calls], code);
    const fails = isFault(reason, why);
    await assert.rejects(keys.commit([set("k", "new"), set("other", "new")]), fails);
    await assert.rejects(logs.append("l", [utf8("new")]), fails);
    await assert.rejects(logs.append("new", [utf8("new")]), fails);
    await assert.rejects(topics.publish("t", [utf8("3")]), fails);
    await assert.rejects(first.ack(), fails);
    await assert.rejects(blobs.put("b", once(pattern(100_000)), plain), fails);
    await assert.rejects(blobs.delete("b"), fails);
    assert.equal((await keys.get("k"))?.version, version);
    assert.equal(await keys.get("other"), undefined);
    assert.equal((await logs.bounds("l")).next, 2n);
    assert.equal((await blobs.stat("b"))?.size, 3);

    files.refuse = () => undefined;
    assert.ok((await committed(keys, set("k", "newer"))) > version, "it goes on when there is room again");
    assert.deepEqual(await logs.append("l", [utf8("newer")]), { first: 2n, last: 2n });
    // What could not be acknowledged is delivered again.
    const again = await events.next();
    assert.deepEqual([again.value, again.attempt], [utf8("1"), 2]);
    await again.ack();
    await topics.publish("t", [utf8("4")]);
    await blobs.put("b", once(utf8("newer")), plain);

    await using reopened = await reopen();
    assert.deepEqual((await reopened.keys.get("k"))?.value, utf8("newer"));
    assert.equal(await reopened.keys.get("other"), undefined);
    const records = await all(reopened.logs.read("l", 1n, { follow: false, signal: never() }));
    assert.deepEqual(
      records.flat().map(({ value }) => value),
      [utf8("old"), utf8("newer")],
    );
    const left = reader(reopened.topics.consume("t", "g", never()));
    assert.deepEqual((await left.next()).value, utf8("2"));
    assert.deepEqual((await left.next()).value, utf8("4"));
    await left.quiet();
    assert.equal((await reopened.blobs.stat("b"))?.size, 5);
  });
});

test("a sync that fails: nothing is acknowledged from then on, as nobody knows what the disk has", async () => {
  const { engine, files, reopen } = await open();
  const { keys, logs } = engine;
  await committed(keys, set("k", "old"));
  await logs.append("l", [utf8("old")]);
  files.refuse = on(["sync"], "EIO");
  const fails = isFault("away", /the disk failed/);
  await assert.rejects(keys.commit([set("k", "new")]), fails);
  await assert.rejects(logs.append("l", [utf8("new")]), fails);
  files.refuse = () => undefined;
  await assert.rejects(keys.commit([set("k", "new")]), fails);
  await assert.rejects(logs.append("l", [utf8("new")]), fails);
  assert.deepEqual((await keys.get("k"))?.value, utf8("old"));
  await using reopened = await reopen();
  assert.ok(await reopened.keys.get("k"));
  await committed(reopened.keys, set("k", "newest"));
});

test("a disk that is full while a table is written: writes go on as long as there is memory, then fail", async () => {
  const { engine, files, reopen } = await open();
  files.refuse = (call, path) =>
    call === "write" && path.includes("table-") ? systemError("ENOSPC") : undefined;
  const { keys } = engine;
  let done = 0;
  const fill = async () => {
    for (; done < 3000; done++) await committed(keys, set(`k${done}`, "x".repeat(1000)));
  };
  await assert.rejects(fill(), isFault("full", /the disk is full/));
  assert.ok(done > 100);
  for (const i of [0, done - 1]) assert.ok(await keys.get(`k${i}`), `k${i}`);
  files.refuse = () => undefined;
  await committed(keys, set("after", "room"));
  await using reopened = await reopen();
  for (let i = 0; i < done; i++) assert.ok(await reopened.keys.get(`k${i}`), `k${i}`);
  assert.ok(await reopened.keys.get("after"));
});

test("a condition that fails on what the disk then refuses is no conflict: the call fails as well", async () => {
  const { engine, files } = await open();
  const { keys } = engine;
  files.refuse = on(["write"], "ENOSPC");
  const racing = ["1", "2"].map((value) => keys.commit([set("k", value, { ifVersion: 0n })]));
  for (const { status } of await Promise.allSettled(racing)) assert.equal(status, "rejected");
  files.refuse = () => undefined;
  await committed(keys, set("k", "3", { ifVersion: 0n }));
  await engine.close();
});
