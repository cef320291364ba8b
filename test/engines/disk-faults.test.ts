import assert from "node:assert/strict";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { collect, reader } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { commitWrites, set } from "../../src/conformance/engine/writes.js";

import { patternBytes } from "../../src/conformance/test-data.js";
import { utf8 } from "../../src/lib/utf8.js";
import { EngineFault } from "../../src/server/engine.js";
import { checkFolder } from "../../src/server/engines/disk/check.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { aroundBatches } from "../disk/batches.js";
import { LossyFiles, type Refuse, systemError } from "../disk/lossy-files.js";

const SMALL = { segmentBytes: 32 * 1024 };

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

const isFault = (reason: "full" | "unavailable", why: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineFault, String(error));
  assert.equal(error.reason, reason);
  assert.match(error.message, why);
  return true;
};

const of = async function* (bytes: Uint8Array) {
  yield bytes;
};
const plain = { metadata: {}, ifAbsent: false };
const on = (calls: string[], code: string): Refuse => {
  return (call) => (calls.includes(call) ? systemError(code) : undefined);
};

describe.each([
  ["a full disk", ["write"], "ENOSPC", "full", /the disk is full/],
  ["a used up quota", ["write"], "EDQUOT", "full", /quota is used up/],
  ["a read-only disk", ["write", "open", "rename", "mkdir", "unlink"], "EROFS", "unavailable", /read-only/],
] as const)("%s", (_, calls, code, reason, why) => {
  test("every write of a log or file fails with the reason and changes nothing", async () => {
    const { engine, files, reopen } = await open();
    const { logs, blobs } = engine;
    await logs.append("l", [utf8("old")]);
    await blobs.put("b", of(utf8("old")), plain);

    files.refuse = on([...calls], code);
    const fails = isFault(reason, why);
    await assert.rejects(logs.append("l", [utf8("new")]), fails);
    await assert.rejects(logs.append("new", [utf8("new")]), fails);
    await assert.rejects(blobs.put("b", of(patternBytes(100_000)), plain), fails);
    assert.equal((await logs.bounds("l")).next, 2n);
    assert.equal((await blobs.stat("b"))?.size, 3);

    files.refuse = () => undefined;
    assert.deepEqual(await logs.append("l", [utf8("newer")]), { first: 2n, last: 2n });
    await blobs.put("b", of(utf8("newer")), plain);

    await using reopened = await reopen();
    const records = await collect(reopened.logs.read("l", 1n, { follow: false, signal: neverAborts() }));
    assert.deepEqual(
      records.flat().map(({ value }) => value),
      [utf8("old"), utf8("newer")],
    );
    assert.equal((await reopened.blobs.stat("b"))?.size, 5);
  });
});

test("after a failed sync nothing is acknowledged, as the state of the disk is unknown", async () => {
  const { engine, files, reopen } = await open();
  const { logs } = engine;
  await logs.append("l", [utf8("old")]);
  files.refuse = on(["sync"], "EIO");
  const fails = isFault("unavailable", /the disk failed/);
  await assert.rejects(logs.append("l", [utf8("new")]), fails);
  files.refuse = () => undefined;
  await assert.rejects(logs.append("l", [utf8("new")]), fails);
  await using reopened = await reopen();
  await reopened.logs.append("l", [utf8("newest")]);
});

test("a write that is in the journal although the disk refused it is removed", async () => {
  const data = join(folder, `${++count}`);
  const engine = await openDiskEngine({ folder: data });
  await commitWrites(engine.keys, set("k", "old"));
  const stop = aroundBatches(async (_, write) => {
    await write();
    const message = "IO error: 000003.log: No space left on device";
    throw Object.assign(new Error(message), { code: "LEVEL_IO_ERROR" });
  });
  const commit = engine.keys.commit([set("k", "refused")]);
  await assert.rejects(commit, isFault("full", /the disk is full/));
  stop();
  await vi.waitFor(() => commitWrites(engine.keys, set("other")), 2000);
  assert.deepEqual((await engine.keys.get("k"))?.value, utf8("old"));
  await engine.close();
});

describe.skipIf(process.platform !== "linux")("a store whose files may not grow further", () => {
  const outdir = join(import.meta.dirname, `.tmp/full-${process.pid}`);
  const [program, backup] = [join(outdir, "full.js"), join(outdir, "backup.js")];
  const limit = (pid: number | undefined, bytes: number | "unlimited") =>
    execFileSync("prlimit", ["--pid", `${pid}`, `--fsize=${bytes}:unlimited`]);

  beforeAll(() =>
    build({
      entryPoints: ["full", "backup"].map((name) => join(import.meta.dirname, `../disk/${name}.ts`)),
      outdir,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
    }),
  );

  afterAll(() => rm(outdir, { recursive: true }));

  test("a backup of which only a part fits fails, and cannot be opened", async () => {
    const [data, to] = [join(folder, `${++count}`), join(folder, `${++count}`)];
    {
      await using engine = await openDiskEngine({ folder: data });
      await engine.blobs.put("b", of(patternBytes(1_500_000)), plain);
    }
    const child = fork(backup, [data, to]);
    const next = async () => (await once(child, "message"))[0] as unknown;
    assert.equal(await next(), "ready");
    // The last chunk of the file is written in part.
    limit(child.pid, 1_400_000);
    child.send("limited");
    assert.match(String(await next()), /Cannot write the backup .*: a file of the data folder may not grow/);
    await assert.rejects(openDiskEngine({ folder: to }), /format.json is missing/);
  });

  test("every write fails and changes nothing, and writes succeed again when there is room", async () => {
    const data = join(folder, `${++count}`);
    const child = fork(program, [data]);
    const next = async () => (await once(child, "message"))[0] as unknown;
    assert.equal(await next(), "open");
    limit(child.pid, 1_000_000);
    child.send("limited");
    const full = (await next()) as Record<string, unknown>;
    const refusal = "full: a file of the data folder may not grow further";
    assert.deepEqual(full["refused"], Array(6).fill(refusal));
    assert.deepEqual([full["old"], full["racing"]], ["old", null]);
    assert.ok(Number(full["kept"]) > 100);
    limit(child.pid, "unlimited");
    child.send("unlimited");
    const after = (await next()) as Record<string, unknown>;
    assert.deepEqual(after, { event: "1", attempt: 2, racing: "3" });
    child.send("killed");
    await once(child, "exit");
    assert.deepEqual((await checkFolder(data)).damaged, []);
    await using engine = await openDiskEngine({ folder: data });
    const fillers = await collect(engine.keys.list("fill"));
    assert.equal(fillers.length, full["kept"]);
    assert.deepEqual((await engine.keys.get("k"))?.value, utf8("newer"));
    assert.equal(await engine.keys.get("never"), undefined);
    const events = reader(engine.topics.consume("t", "g", neverAborts()));
    assert.deepEqual((await events.next()).value, utf8("2"));
    assert.deepEqual((await events.next()).value, utf8("4"));
    await events.quiet();
  });
});
