import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, test } from "vitest";
import { collect } from "../../src/conformance/engine/reader.js";
import { commitWrites, set } from "../../src/conformance/engine/writes.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { checkFolder } from "../../src/server/engines/disk/check.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { DamageError, FolderError } from "../../src/server/engines/disk/errors.js";
import { checkStore } from "../../src/server/engines/disk/store-check.js";
import { readStoreLog } from "../../src/server/engines/disk/store-log.js";
import { StoreReader } from "../../src/server/engines/disk/store-reader.js";
import { contents } from "../disk/contents.js";
import { fill, SMALL, texts } from "../disk/fill.js";
import type { Damage, Verdict } from "../disk/survey.js";

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

/** A folder after its process was killed: the last writes are in a journal. */
async function killedFolder(): Promise<string> {
  const data = await fill(fresh());
  const engine = await openDiskEngine({ folder: data });
  for (let i = 0; i < 100; i++) await commitWrites(engine.keys, set(`late${i}`, `${i}`.repeat(200)));
  const copy = await copyOf(data);
  await engine.close();
  return copy;
}

/** Flips a bit in a copy for each of `places`; returns how many of the copies the engine refused to serve. */
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

describe("a flipped bit is reported or has no effect", () => {
  test("in any file of a folder that was closed", async () => {
    const data = await fill(fresh());
    const names = await readdir(data, { recursive: true });
    const reported = new Map<string, number>();
    for (const name of names) {
      const { size, isFile } = await stat(join(data, name)).then((found) => ({
        size: found.size,
        isFile: found.isFile(),
      }));
      if (!isFile || size === 0 || /^(LOG|LOCK)/.test(basename(name))) continue;
      const kind = basename(name).replace(/\d+/g, "#");
      reported.set(kind, (reported.get(kind) ?? 0) + (await survey(data, name, spread(size, 7))));
    }
    for (const kind of ["#.ldb", "MANIFEST-#", "CURRENT", "format.json"]) assert.ok(reported.get(kind), kind);
  }, 120_000);

  test("in the journal of a killed process, before its last record", async () => {
    const data = await killedFolder();
    const name = await first(join(data, "tree"), /\.log$/);
    const { lastStart } = readStoreLog(await readFile(name));
    assert.ok(lastStart > 20_000);
    const places = spread(lastStart - 1, 20);
    assert.equal(await survey(data, join("tree", basename(name)), places), places.length);
  }, 60_000);
});

test("the error names the damaged file and the command that helps; the folder is unlocked", async () => {
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
])("the engine does not open without %s, and reports that", async (_, name) => {
  const data = await killedFolder();
  await rm(await first(join(data, "tree"), name));
  await assert.rejects(openDiskEngine({ folder: data }), /is damaged: .*missing/);
});

test("a missing segment is reported, and so is one that ends before an acknowledged record", async () => {
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

test("a log that is cut inside its last group is reported, also after a kill", async () => {
  const data = fresh();
  await using engine = await openDiskEngine({ folder: data });
  const appends = Array.from({ length: 140 }, (_, i) => engine.logs.append("l", [utf8(`record ${i}`)]));
  await Promise.all(appends);
  // By then the tree has the end of the log.
  await sleep(1500);
  const copy = await copyOf(data);
  const segment = await first(await first(join(copy, "logs"), /./), /./);
  await truncate(segment, (await stat(segment)).size - 20);
  assert.match((await checkFolder(copy)).damaged.join(), /it ends at offset \d+ of 141/);
  await using again = await openDiskEngine({ folder: copy });
  await assert.rejects(texts(again.logs, "l"), /it ends at offset \d+ of 141/);
  await assert.rejects(again.logs.append("l", [utf8("new")]), /it ends at offset \d+ of 141/);
});

test("check reads LevelDB's entries, of all levels and of the journal", async () => {
  const data = fresh();
  const copy = fresh();
  await using engine = await openDiskEngine({ folder: data, ...SMALL });
  const { keys } = engine;
  for (let i = 0; i < 3000; i++) {
    const [key, gone] = [`k${(i * 7919) % 500}`, `k${(i * 104_729) % 500}`];
    const commit = [set(key, `${i}`.repeat(1 + (i % 200)))];
    await commitWrites(keys, ...commit, ...(key === gone ? [] : [{ type: "delete" as const, key: gone }]));
  }
  const expected = (await collect(keys.list(""))).map(({ key, value }) => [key, fromUtf8(value)]);
  await cp(data, copy, { recursive: true });
  const tables = await checkStore(join(copy, "tree"));
  assert.ok(new Set(tables.map(({ level }) => level)).size > 1, "there is more than one level");
  const store = await StoreReader.open(join(copy, "tree"), (error) => {
    throw error;
  });
  const found = (await collect(store.all("k"))).map(({ key, value }) => [
    key.slice(1),
    value.subarray(16).toString(),
  ]);
  assert.deepEqual(found, expected);
  const report = await checkFolder(await copyOf(copy));
  assert.deepEqual([report.damaged, report.keys], [[], expected.length]);
}, 60_000);

test("check changes nothing, and needs nothing to be written", async () => {
  const data = await killedFolder();
  const program = join(import.meta.dirname, `.tmp/check-${process.pid}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, "../disk/check.ts")],
    outfile: program,
    bundle: true,
    target: "node20",
    platform: "node",
    format: "esm",
    packages: "external",
  });
  const names = ["", ...(await readdir(data, { recursive: true }))];
  const files = async () =>
    Promise.all(
      names.map(async (name) => {
        const { mtimeMs, size } = await stat(join(data, name));
        return [name, mtimeMs, size];
      }),
    );
  const modes = async (folderMode: number, fileMode: number) => {
    for (const name of names) {
      const path = join(data, name);
      await chmod(path, (await stat(path)).isDirectory() ? folderMode : fileMode);
    }
  };
  // The user that runs it may read, and write nothing.
  await chmod(folder, 0o755);
  await modes(0o555, 0o444);
  try {
    const before = await files();
    const isRoot = process.getuid?.() === 0;
    const child = fork(program, [data], isRoot ? { uid: 65_534, gid: 65_534 } : {});
    const [report] = (await once(child, "message")) as [Awaited<ReturnType<typeof checkFolder>>];
    assert.deepEqual([report.damaged, report.logs, report.records, report.blobs], [[], 1, 100, 1]);
    assert.deepEqual(await files(), before);
  } finally {
    await modes(0o755, 0o644);
    await rm(program);
  }
}, 30_000);

test("a value that is damaged while the engine is open is not served", async () => {
  const data = await fill(fresh());
  await using engine = await openDiskEngine({ folder: data });
  const table = await first(join(data, "tree"), /\.ldb$/);
  // In place, as the store has the file mapped.
  const file = await open(table, "r+");
  const bytes = await readFile(table);
  const place = bytes.indexOf("x".repeat(100)) + 50;
  await file.write(Buffer.from("y"), 0, 1, place);
  await file.close();
  await assert.rejects(
    collect(engine.keys.list("k")),
    /tree is damaged: the checksum of "kk\d+" does not match/,
  );
});

test("the tables of a large folder are all read before it opens", async () => {
  const data = fresh();
  {
    await using engine = await openDiskEngine({ folder: data });
    for (let i = 0; i < 45; i++) await commitWrites(engine.keys, set(`k${i}`, `${i}`.repeat(500_000)));
  }
  const tables = await checkStore(join(data, "tree"));
  assert.ok(tables.reduce((sum, { size }) => sum + size, 0) > 32 * 1024 ** 2);
  const { path, size } = tables.at(-1) ?? { path: "", size: 0 };
  await flip(path, Math.floor(size / 2));
  const message = new RegExp(`${path} is damaged: the block at byte \\d+ is broken`);
  await assert.rejects(openDiskEngine({ folder: data }), message);
  assert.match((await checkFolder(data)).damaged.join(), message);
}, 60_000);

describe("zeroed and inverted bytes in any file are reported, and do not end the process", () => {
  const program = join(import.meta.dirname, `.tmp/survey-${process.pid}.mjs`);
  let child: ChildProcess;

  beforeAll(async () => {
    await build({
      entryPoints: [join(import.meta.dirname, "../disk/survey.ts")],
      outfile: program,
      bundle: true,
      target: "node20",
      platform: "node",
      format: "esm",
      packages: "external",
    });
    child = fork(program);
  });

  afterAll(async () => {
    child.kill("SIGKILL");
    await rm(program);
  });

  /** The result of checking and opening a damaged copy of the folder. */
  async function verdictOf(data: string, damage?: Damage): Promise<Verdict> {
    const dead = new AbortController();
    const answer = once(child, "message", { signal: dead.signal }) as Promise<[Verdict]>;
    const died = once(child, "exit", { signal: dead.signal }).then(([code, signal]) => {
      throw new Error(`${JSON.stringify(damage)} ended the process: ${code ?? signal}`);
    });
    try {
      child.send({ folder: data, copy: fresh(), damage });
      const [verdict] = await Promise.race([answer, died]);
      return verdict;
    } finally {
      dead.abort();
      await Promise.allSettled([answer, died]);
    }
  }

  /** The kinds of files to damage, and the bytes that are zeroed at a time. */
  function* damages(path: string, size: number): Generator<Damage> {
    for (const how of ["zero", "flip"] as const) {
      for (const length of [1, 512]) {
        for (const at of spread(Math.max(1, size - length), 6)) {
          yield { path, at, length: Math.min(length, size - at), how };
        }
      }
    }
  }

  test.each([
    ["table", /^tree\/\d+\.ldb$/, 2],
    ["manifest", /^tree\/MANIFEST/, 1],
    ["name of the manifest", /^tree\/CURRENT$/, 1],
    ["segment of a log", /^logs\/.*\/\d{20}$/, 2],
    ["file", /^blobs\/[0-9a-f]{2}\/./, 1],
    ["format", /^format\.json$/, 1],
    ["lock", /^lock\.d\/(CURRENT|MANIFEST.*)$/, 2],
  ])(
    "of a folder that was closed: its %s",
    async (kind, pattern, most) => {
      const data = await fill(fresh());
      const whole = await verdictOf(data);
      assert.deepEqual([whole.damaged, whole.error], [[], undefined]);
      const paths = (await readdir(data, { recursive: true })).filter((name) => pattern.test(name));
      assert.ok(paths.length > 0);
      let reported = 0;
      for (const path of paths.sort().slice(0, most)) {
        for (const damage of damages(path, (await stat(join(data, path))).size)) {
          const verdict = await verdictOf(data, damage);
          const about = JSON.stringify({ damage, verdict: { ...verdict, contents: undefined } });
          if (verdict.damaged.length > 0) {
            reported++;
            assert.match(verdict.damaged.join(), new RegExp(basename(path)), about);
            if (kind === "table")
              assert.match(verdict.damaged.join(), /block at byte \d+|table footer is invalid/, about);
          } else {
            assert.ok(isDeepStrictEqual(verdict.contents, whole.contents), about);
          }
        }
      }
      assert.ok(reported > 0 || kind === "lock");
    },
    120_000,
  );

  test("of a journal, before its last record", async () => {
    const data = await killedFolder();
    const whole = await verdictOf(data);
    assert.deepEqual([whole.damaged, whole.error], [[], undefined]);
    const path = join("tree", basename(await first(join(data, "tree"), /\.log$/)));
    const { lastStart } = readStoreLog(await readFile(join(data, path)));
    let reported = 0;
    for (const damage of damages(path, lastStart)) {
      const verdict = await verdictOf(data, damage);
      // Bytes that were zero before are not damaged.
      if (isDeepStrictEqual(verdict, whole)) continue;
      reported++;
      assert.match(verdict.damaged.join(), /\d+\.log is damaged: it is broken at byte \d+/);
      assert.match(verdict.error ?? "", /\d+\.log is damaged/);
    }
    assert.ok(reported > 12);
  }, 120_000);
});

test("a torn end of a log is truncated: none of it returns after later writes", async () => {
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

test("check reports all damage, also if the engine does not open", async () => {
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
