import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openGossipMap } from "../../../src/index.js";
import { filePersistence } from "../../../src/node.js";
import { bundleProgram } from "../../support/bundle.js";
import { ChildProgram } from "../../support/child-program.js";
import { openInProcess } from "../../support/protocols.js";
import { switchedTransport } from "../../support/switched-transport.js";

/** How often the process that writes is killed: more in the nightly run. */
const KILLS = Number(process.env["GOSSIP_FILE_KILLS"] ?? 15);

let root: string;
let folders = 0;
const folder = () => join(root, `folder ${folders++}`);

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "fairlead-"));
});
afterAll(() => rm(root, { recursive: true }));

const record = (...bytes: number[]) => Uint8Array.from(bytes);

/** The records of the store, which is opened and closed. */
async function reopen(at: string, name = "m") {
  const store = await filePersistence(at).open(name);
  try {
    return await store.load();
  } finally {
    await store.close();
  }
}

test("a store has its records in order, also after replace() and another open()", async () => {
  const at = folder();
  const store = await filePersistence(at).open("m");
  assert.deepEqual(await store.load(), { records: [] });
  await store.append(record(1));
  await store.append(record(2, 2));
  assert.deepEqual((await store.load()).records, [record(1), record(2, 2)]);
  await store.replace([record(3), record()]);
  await store.append(record(4));
  assert.deepEqual((await store.load()).records, [record(3), record(), record(4)]);
  await store.close();
  await store.close();
  assert.deepEqual(await reopen(at), { records: [record(3), record(), record(4)] });
});

test("any text is a name of its own, also in file systems that ignore case", async () => {
  const at = folder();
  const names = [
    "a",
    "A",
    "../a",
    "a/b",
    ".",
    "ключ",
    "x".repeat(2000),
    `${"x".repeat(1999)}y`,
    "con",
    "%41",
  ];
  const stores = await Promise.all(names.map((name) => filePersistence(at).open(name)));
  await Promise.all(stores.map((store) => store.load()));
  await Promise.all(stores.map((store, i) => store.append(record(i))));
  await Promise.all(stores.map((store) => store.close()));
  const files = (await readdir(at)).map((file) => file.toLowerCase());
  assert.equal(new Set(files).size, names.length);
  assert.ok(files.every((file) => file.length < 250));
  for (const [i, name] of names.entries()) assert.deepEqual((await reopen(at, name)).records, [record(i)]);
});

describe("a file that was cut", () => {
  test("at any byte has the records before it, and takes more", async () => {
    const at = folder();
    const store = await filePersistence(at).open("m");
    await store.load();
    const records = [record(1), record(2, 2, 2), record(), record(...Array(40).keys())];
    for (const each of records) await store.append(each);
    await store.close();
    const file = join(at, "m.gossip");
    const whole = await readFile(file);
    const ends = [8];
    for (const each of records) ends.push((ends.at(-1) ?? 0) + 12 + each.length);
    for (let length = 0; length <= whole.length; length++) {
      await writeFile(file, whole.subarray(0, length));
      const cut = await filePersistence(at).open("m");
      const kept = ends.filter((end, i) => i > 0 && end <= length).length;
      assert.deepEqual(await cut.load(), { records: records.slice(0, kept) }, `at ${length}`);
      await cut.append(record(9));
      await cut.close();
      assert.deepEqual(await reopen(at), { records: [...records.slice(0, kept), record(9)] }, `at ${length}`);
    }
  });

  test("and was filled with zeros, as after a power failure, has the records before", async () => {
    const at = folder();
    const store = await filePersistence(at, { syncMs: 0 }).open("m");
    await store.load();
    await store.append(record(1));
    await store.close();
    await truncate(join(at, "m.gossip"), 4096);
    assert.deepEqual(await reopen(at), { records: [record(1)] });
  });
});

test("each bit counts: damage before intact records is reported, and a copy is kept", async () => {
  const at = folder();
  const store = await filePersistence(at).open("m");
  await store.load();
  for (const each of [record(1), record(2, 2), record(3)]) await store.append(each);
  await store.close();
  const file = join(at, "m.gossip");
  const whole = await readFile(file);
  const second = 8 + 13;
  for (let at2 = second; at2 < second + 14; at2++) {
    const damaged = Buffer.from(whole);
    damaged[at2] = (damaged[at2] as number) ^ 1;
    await writeFile(file, damaged);
    const { records, damage } = await reopen(at);
    assert.deepEqual(records, [record(1), record(3)], `byte ${at2}`);
    assert.match(String(damage), /is damaged: 14 bytes are lost; a copy is at/);
  }
  const copies = (await readdir(at)).filter((name) => name.includes(".damaged-"));
  assert.ok(copies.length > 0);
  assert.equal((await readFile(join(at, copies[0] ?? ""))).length, whole.length);
});

test("a file of something else is refused, and stays as it is", async () => {
  const at = folder();
  await reopen(at);
  const file = join(at, "m.gossip");
  await writeFile(file, "my notes, not a map");
  await assert.rejects(reopen(at), /it is not a stored gossip map/);
  assert.equal(await readFile(file, "utf8"), "my notes, not a map");
});

describe("the lock", () => {
  test("refuses a second store in the same process, until the first is closed", async () => {
    const at = folder();
    const store = await filePersistence(at).open("m");
    await assert.rejects(filePersistence(at).open("m"), /this process has it open already/);
    await store.close();
    await reopen(at);
    assert.deepEqual((await readdir(at)).sort(), ["m.gossip"]);
  });

  test("refuses a store that another process has open, names it, and is free when that is killed", async () => {
    const at = folder();
    const program = await bundleProgram(join(import.meta.dirname, "writer.ts"));
    const other = new ChildProgram("the writer", program, { folder: at, first: 1 });
    await other.start();
    await assert.rejects(filePersistence(at).open("killed"), /process \d+ on .* has it open/);
    await other.stop();
    await reopen(at, "killed");
  });

  test("of another machine is taken over when its heartbeat has stopped", async () => {
    const at = folder();
    await reopen(at);
    const lock = join(at, "m.gossip.lock");
    await writeFile(lock, JSON.stringify({ id: "x", pid: 1, started: "1", host: "elsewhere" }));
    await reopen(at);
    await writeFile(lock, "{");
    await reopen(at);
  }, 20_000);
});

test(`nothing that was stored is lost when the process is killed, ${KILLS} times`, async () => {
  const at = folder();
  const program = await bundleProgram(join(import.meta.dirname, "writer.ts"));
  let first = 1;
  for (let kill = 0; kill < KILLS; kill++) {
    let last = 0;
    const writer = new ChildProgram("the writer", program, { folder: at, first }, (number) => {
      last = number as number;
    });
    await writer.start();
    while (last === 0) await sleep(1);
    await sleep(Math.random() * 30);
    await writer.stop();
    const { records, damage } = await reopen(at, "killed");
    assert.equal(damage, undefined);
    const numbers = records.map((each) => Number(Buffer.from(each).toString().split(":")[0]));
    for (const [i, number] of numbers.entries()) assert.equal(number, (numbers[0] as number) + i);
    assert.ok((numbers.at(-1) ?? 0) >= last, `${numbers.at(-1)} after ${last} was stored`);
    assert.ok(numbers[0] === 1 || (numbers[0] ?? 1) % 20 === 0);
    first = (numbers.at(-1) ?? 0) + 1;
  }
  expect(first).toBeGreaterThan(KILLS);
}, 120_000);

test("a map in a folder is there after a restart without the server, with its unsent writes", async () => {
  await using server = await openInProcess();
  const network = switchedTransport(server.transport);
  const at = folder();
  const visit = () => openGossipMap<number>(network, "m", { persist: filePersistence(at) });
  const first = await visit();
  first.set("sent", 1);
  await first.synced();
  network.off();
  first.set("unsent", 2);
  await first.close();
  const second = await visit();
  assert.deepEqual([...second], [...Object.entries({ sent: 1, unsent: 2 })]);
  const again = await visit();
  assert.match(String(again.status.storageError), /this process has it open already/);
  await again.close();
  network.on();
  await second.synced();
  await second.close();
});

test("a folder that cannot be written is told", async () => {
  await using server = await openInProcess();
  const file = folder();
  await writeFile(file, "");
  await using map = await openGossipMap<number>(server.transport, "m", { persist: filePersistence(file) });
  assert.match(String(map.status.storageError), /ENOTDIR|EEXIST/);
  assert.throws(() => filePersistence(file, { syncMs: -1 }), {
    name: "RangeError",
    message: /syncMs must be/,
  });
});
