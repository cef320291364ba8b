import assert from "node:assert/strict";
import { cp, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { all, committed, never, reader, set } from "../src/conformance/engine/steps.js";
import { sleep } from "../src/internal/timer.js";
import { fromUtf8, utf8 } from "../src/internal/utf8.js";
import { checkFolder } from "../src/server/engines/disk/check.js";
import { openDiskEngine } from "../src/server/engines/disk/engine.js";
import { DamageError, FolderError } from "../src/server/engines/disk/faults.js";
import { checkStore } from "../src/server/engines/disk/store-check.js";
import { readStoreLog } from "../src/server/engines/disk/store-log.js";
import { fill, SMALL, texts } from "./disk/fill.js";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

const fresh = () => join(folder, `${++count}`);

async function copyOf(data: string): Promise<string> {
  const copy = fresh();
  await cp(data, copy, { recursive: true });
  await rm(join(copy, "lock"), { force: true });
  return copy;
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

const first = async (path: string, pattern: RegExp) =>
  join(path, (await readdir(path)).sort().find((name) => pattern.test(name)) ?? "");

/** A folder as a process leaves it that is killed: what was written last is in a journal. */
async function killed(): Promise<string> {
  const data = await fill(fresh());
  const engine = await openDiskEngine({ folder: data });
  for (let i = 0; i < 100; i++) await committed(engine.keys, set(`late${i}`, `${i}`.repeat(200)));
  const copy = await copyOf(data);
  await engine.close();
  return copy;
}

/** All that a folder holds. Fails where anything of it is damaged. */
async function contents(data: string) {
  await using engine = await openDiskEngine({ folder: data, ...SMALL });
  const { keys, logs, topics, blobs } = engine;
  const blob = await blobs.get("b");
  assert.ok(blob);
  const entries = await all(keys.list(""));
  const event = await reader(topics.consume("t", "g", never())).next();
  return {
    entries,
    single: await Promise.all(entries.map(({ key }) => keys.get(key))),
    records: await texts(logs, "l"),
    bounds: await logs.bounds("l"),
    blob: Buffer.concat(await all(blob.content)).toString("base64"),
    event: fromUtf8(event.value),
  };
}

/** Flips a bit at each of the places of a copy each: how many of them the engine refused to serve. */
async function survey(data: string, path: string, places: number[]): Promise<number> {
  const whole = await contents(await copyOf(data));
  let refused = 0;
  for (const place of places) {
    const copy = await copyOf(data);
    await flip(join(copy, path), place);
    try {
      assert.deepEqual(await contents(copy), whole, `a flip of byte ${place} of ${path} went by`);
    } catch (error) {
      if (!(error instanceof FolderError || error instanceof DamageError)) throw error;
      refused++;
    }
    await rm(copy, { recursive: true });
  }
  return refused;
}

const spread = (size: number, most: number): number[] => {
  const places = Array.from({ length: most }, (_, i) => Math.floor((i * (size - 1)) / Math.max(1, most - 1)));
  return [...new Set(places)];
};

test("check tells that there is none", async () => {
  const report = await checkFolder(await fill(fresh()));
  assert.deepEqual([report.damaged, report.logs, report.records, report.blobs], [[], 1, 100, 1]);
  assert.ok(report.keys > 300);
});

describe("a flipped bit is told or does no harm", () => {
  test("in any file of a folder that was closed", async () => {
    const data = await fill(fresh());
    const names = await readdir(data, { recursive: true });
    const told = new Map<string, number>();
    for (const name of names) {
      const { size, isFile } = await stat(join(data, name)).then((found) => ({
        size: found.size,
        isFile: found.isFile(),
      }));
      if (!isFile || size === 0 || /^(LOG|LOCK)/.test(basename(name))) continue;
      const kind = basename(name).replace(/\d+/g, "#");
      told.set(kind, (told.get(kind) ?? 0) + (await survey(data, name, spread(size, 7))));
    }
    for (const kind of ["#.ldb", "MANIFEST-#", "CURRENT", "format.json"]) assert.ok(told.get(kind), kind);
  }, 120_000);

  test("in the journal of a process that was killed, in front of its last record", async () => {
    const data = await killed();
    const name = await first(join(data, "tree"), /\.log$/);
    const { lastStart } = readStoreLog(await readFile(name));
    assert.ok(lastStart > 20_000);
    const places = spread(lastStart - 1, 20);
    assert.equal(await survey(data, join("tree", basename(name)), places), places.length);
  }, 60_000);
});

test("what is damaged is named, and what helps; the folder is not left locked", async () => {
  const data = await fill(fresh());
  const path = await first(join(data, "tree"), /\.ldb$/);
  await flip(path, 1000);
  for (let time = 0; time < 2; time++) {
    await assert.rejects(openDiskEngine({ folder: data }), {
      name: "FolderError",
      message: new RegExp(`${path} is damaged: .*"fairlead check ${data}" tells all that is damaged`),
    });
  }
});

test.each([
  ["journal", /\.log$/],
  ["table", /\.ldb$/],
  ["manifest", /^MANIFEST/],
  ["name of the manifest", /^CURRENT/],
])("a missing %s is told: the engine does not open", async (_, name) => {
  const data = await killed();
  await rm(await first(join(data, "tree"), name));
  await assert.rejects(openDiskEngine({ folder: data }), /is damaged: .*missing/);
});

test("a missing segment is told, and so is one that ends in front of what was acknowledged", async () => {
  const data = await fill(fresh());
  const short = await copyOf(data);
  const log = await first(join(data, "logs"), /./);
  await rm(join(log, (await readdir(log)).sort()[1] ?? ""));
  {
    await using engine = await openDiskEngine({ folder: data });
    await assert.rejects(texts(engine.logs, "l"), /it ends at offset|ends before offset/);
  }
  const last = (await readdir(await first(join(short, "logs"), /./))).sort().at(-1) ?? "";
  const path = join(await first(join(short, "logs"), /./), last);
  await truncate(path, (await stat(path)).size - 1);
  assert.match((await checkFolder(short)).damaged.join(), /it ends at offset \d+ of 101/);
  await using engine = await openDiskEngine({ folder: short });
  await assert.rejects(texts(engine.logs, "l"), /it ends at offset \d+ of 101/);
});

test("a log that is cut inside its last group is told, also where the process was killed", async () => {
  const data = fresh();
  await using engine = await openDiskEngine({ folder: data });
  const appends = Array.from({ length: 140 }, (_, i) => engine.logs.append("l", [utf8(`record ${i}`)]));
  await Promise.all(appends);
  // The tree has been told by then where the log ends.
  await sleep(1500);
  const copy = await copyOf(data);
  const segment = await first(await first(join(copy, "logs"), /./), /./);
  await truncate(segment, (await stat(segment)).size - 20);
  assert.match((await checkFolder(copy)).damaged.join(), /it ends at offset \d+ of 141/);
  await using again = await openDiskEngine({ folder: copy });
  await assert.rejects(texts(again.logs, "l"), /it ends at offset \d+ of 141/);
  await assert.rejects(again.logs.append("l", [utf8("new")]), /it ends at offset \d+ of 141/);
});

test("what is damaged while the engine has it open is not served", async () => {
  const data = await fill(fresh());
  await using engine = await openDiskEngine({ folder: data });
  const table = await first(join(data, "tree"), /\.ldb$/);
  // In place: the store has it mapped.
  const file = await open(table, "r+");
  const bytes = await readFile(table);
  const place = bytes.indexOf("x".repeat(100)) + 50;
  await file.write(Buffer.from("y"), 0, 1, place);
  await file.close();
  await assert.rejects(
    all(engine.keys.list("k")),
    /tree is damaged: what it has at "kk\d+" is not what was written/,
  );
});

test("a folder too large to be read before it opens is read behind that, and damage then ends the service", async () => {
  const data = fresh();
  {
    await using engine = await openDiskEngine({ folder: data });
    for (let i = 0; i < 45; i++) await committed(engine.keys, set(`k${i}`, `${i}`.repeat(500_000)));
  }
  const { path, size } = (await checkStore(join(data, "tree"))).at(-1) ?? { path: "", size: 0 };
  await flip(path, Math.floor(size / 2));
  await using engine = await openDiskEngine({ folder: data });
  const told = new RegExp(`${path} is damaged: the block at byte \\d+ is broken`);
  await vi.waitFor(() => assert.rejects(engine.keys.get("another"), told), 10_000);
  await assert.rejects(all(engine.keys.list("")), told);
  await assert.rejects(engine.keys.commit([set("k")]), told);
}, 60_000);

test("a torn end of a log is cut off: nothing of it comes back behind what is written next", async () => {
  const data = fresh();
  const torn = fresh();
  {
    await using engine = await openDiskEngine({ folder: data });
    await engine.logs.append("l", [utf8("acknowledged")]);
    await Promise.all(["gone 1", "gone 2"].map((text) => engine.logs.append("l", [utf8(text)])));
    await cp(data, torn, { recursive: true });
    await rm(join(torn, "lock"));
  }
  const segment = await first(await first(join(torn, "logs"), /./), /./);
  await flip(segment, (await readFile(segment)).indexOf("gone 1"));
  for (const expected of [
    ["acknowledged", "next 2"],
    ["acknowledged", "next 2", "next 3"],
  ]) {
    await using engine = await openDiskEngine({ folder: torn });
    await engine.logs.append("l", [utf8(`next ${expected.length}`)]);
    assert.deepEqual(await texts(engine.logs, "l"), expected);
  }
});

test("check finds all that is broken, also where the engine does not open", async () => {
  const data = await fill(fresh());
  const table = await first(join(data, "tree"), /\.ldb$/);
  const segment = await first(await first(join(data, "logs"), /./), /./);
  const blob = await first(await first(join(data, "blobs"), /^[0-9a-f]{2}$/), /./);
  await flip(table, 1000);
  await flip(segment, 100);
  await truncate(blob, 40_000);
  const { damaged } = await checkFolder(data);
  for (const path of [table, segment, blob])
    assert.ok(
      damaged.some((line) => line.includes(path)),
      path,
    );
});
