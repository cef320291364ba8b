import assert from "node:assert/strict";
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkFolder } from "../../src/server/engines/disk/check.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { lockHolder } from "../../src/server/engines/disk/lock-file.js";
import { fill } from "../disk/fill.js";
import { until } from "../support/until.js";

let folder: string;
let count = 0;

const program = join(import.meta.dirname, `.tmp/holder-${process.pid}.mjs`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
  await build({
    entryPoints: [join(import.meta.dirname, "../disk/holder.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
  });
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  await rm(program, { force: true });
});

const fresh = () => join(folder, `${++count}`);

/** A process that opens the folder, and the result. */
async function opened(data: string, alias?: { pid: number; host: string }) {
  const child = fork(program, [data, ...(alias ? [JSON.stringify(alias)] : [])]);
  const [message] = (await once(child, "message")) as [string];
  return { child, message };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

describe("who may open a folder", () => {
  test("not a second container with the same host name and process number, while the first lives", async () => {
    const data = fresh();
    const alias = { pid: 1, host: "app" };
    const first = await opened(data, alias);
    assert.equal(first.message, "open");
    const second = await opened(data, alias);
    assert.match(second.message, /process 1 has it open/);
    // The refused one has not released the lock of the first.
    assert.match((await opened(data, alias)).message, /process 1 has it open/);
    await kill(first.child);
    const third = await opened(data, alias);
    assert.equal(third.message, "open");
    await kill(third.child);
  });

  test("at once if the holder was killed and is not reaped yet: a zombie holds no lock", async () => {
    const data = fresh();
    // The shell starts the holder and waits for something else: nobody reaps it.
    const holder = `"${process.execPath}" "${program}" "${data}" & echo $!; exec sleep 60`;
    const parent = spawn("bash", ["-c", holder], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(line.toString());
    try {
      await until(async () => (await lockHolder(data).catch(() => undefined)) !== undefined);
      process.kill(pid, "SIGKILL");
      await until(() => /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8")));
      await (await openDiskEngine({ folder: data })).close();
    } finally {
      parent.kill("SIGKILL");
    }
  });

  test("not a second engine of the same process, whose attempts do not release the lock", async () => {
    const data = fresh();
    await using _ = await openDiskEngine({ folder: data });
    await assert.rejects(openDiskEngine({ folder: data }), new RegExp(`process ${process.pid} has it open`));
    assert.match((await opened(data)).message, /has it open/);
  });

  test.each([
    ["an empty lock", ""],
    ["a lock that is cut short", '{"id":"4d0a3a06-6a5e-47b9-8ee9-91c9'],
    ["a lock of zeros", "\0".repeat(100)],
    ["a lock that is no holder", "[]"],
  ])("at once with %s, as a power failure leaves it; no temporary file stays", async (_, text) => {
    const data = await fill(fresh());
    await writeFile(join(data, "lock"), text);
    const left = `lock.${crypto.randomUUID()}`;
    await writeFile(join(data, left), "");
    await writeFile(join(data, "blobs/aside", "cd".repeat(16)), "half");
    const beganMs = performance.now();
    const engine = await openDiskEngine({ folder: data });
    assert.ok(performance.now() - beganMs < 3000);
    const names = await readdir(data);
    assert.deepEqual(
      names.filter((name) => name.startsWith("lock.")),
      ["lock.d"],
    );
    assert.equal(
      (JSON.parse(await readFile(join(data, "lock"), "utf8")) as { pid: number }).pid,
      process.pid,
    );
    // The sweep continues after the open, and ends with the engine.
    await until(async () => (await readdir(join(data, "blobs/aside"))).length === 0);
    await engine.close();
  });

  test.each(["CURRENT", "000003.log", "MANIFEST-000002"])("also if lock.d/%s is damaged", async (name) => {
    const data = await fill(fresh());
    const names = await readdir(join(data, "lock.d"));
    const kind = name.replace(/\d+/, "");
    const found = names.find((one) => one.replace(/\d+/, "") === kind);
    assert.ok(found);
    await writeFile(join(data, "lock.d", found), "damaged");
    await (await openDiskEngine({ folder: data })).close();
    assert.deepEqual((await checkFolder(data)).damaged, []);
  });

  test("a lock of another machine without a heartbeat is taken over", async () => {
    const data = await fill(fresh());
    const holder = { id: "x", pid: 1, host: hostname(), machine: "another" };
    await writeFile(join(data, "lock"), JSON.stringify(holder));
    await (await openDiskEngine({ folder: data })).close();
  }, 15_000);
});

test("the folder and its files are accessible by their owner only", async () => {
  const data = join(fresh(), "made", "data");
  await fill(data);
  const names = await readdir(data, { recursive: true });
  for (const name of ["", ...names]) {
    // LevelDB creates its files with the process's umask, in a folder that nobody else may enter.
    if (/^(tree|lock\.d)\//.test(name)) continue;
    const { mode } = await stat(join(data, name));
    expect([name, (mode & 0o777).toString(8)]).toEqual([name, mode & 0o040000 ? "700" : "600"]);
  }
});
