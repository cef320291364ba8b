import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, cpSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sleep } from "../../src/rpc/sleep.js";
import { checkFolder } from "../../src/server/engines/disk/check.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { LossyFiles, randomFrom } from "../disk/lossy-files.js";
import { loseStore, type Sizes, watchSyncs } from "../disk/lossy-store.js";
import { verify } from "../disk/verify.js";
import { type Note, work } from "../disk/work.js";

/** The numbers of kills and of power failures: higher in the nightly run. */
const KILLS = Number(process.env["DISK_KILLS"] ?? 20);
const LOSSES = Number(process.env["DISK_LOSSES"] ?? 8);

/** Small, so that little data makes tables, compactions and segments. */
const SMALL = { memtableBytes: 64 * 1024, segmentBytes: 64 * 1024 };

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

/** The bundled program of the process that writes. */
const program = join(import.meta.dirname, `.tmp/disk-${process.pid}.mjs`);

beforeAll(() =>
  build({
    entryPoints: [join(import.meta.dirname, "../disk/process.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
  }),
);

afterAll(() => rm(program, { force: true }));

/** A data folder, the writes that its clients noted as acknowledged, and a process that writes until it is killed. */
function crashing(name: string) {
  const [data, ledger] = [join(folder, name), join(folder, `${name}.ledger`)];
  const fd = openSync(ledger, "a");
  const notes = () =>
    readFileSync(ledger, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Note);
  return {
    data,
    notes,
    note: (one: Note) => void writeSync(fd, `${JSON.stringify(one)}\n`),
    async start(life: number, stopAt = ""): Promise<ChildProcess> {
      const child = fork(program, [data, ledger, String(life * 1e6), stopAt]);
      await once(child, "message");
      return child;
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

describe("kill -9", () => {
  test(
    `acknowledged writes survive ${KILLS} kills at random moments`,
    async () => {
      using crash = crashing("killed");
      const { data, notes, note } = crash;
      const random = randomFrom(Date.now());
      for (let life = 1; life <= KILLS; life++) {
        const child = await crash.start(life);
        if (life === 1) {
          const taken = new RegExp(`process ${child.pid} has it open`);
          await assert.rejects(openDiskEngine({ folder: data }), taken);
        }
        await sleep(random() * 250);
        await kill(child);
        await using engine = await openDiskEngine({ folder: data, ...SMALL });
        await verify(engine, notes(), note);
      }
      expect((await checkFolder(data)).damaged).toEqual([]);
    },
    30_000 + KILLS * 5000,
  );
});

describe("power loss", () => {
  test.each(Array.from({ length: LOSSES }, (_, seed) => seed))(
    "acknowledged writes survive a power failure, whatever part of the others the disk kept: seed %i",
    async (seed) => {
      const random = randomFrom(seed * 7919 + 1);
      const notes: Note[] = [];
      let synced: Sizes = {};
      let data = join(folder, `lossy-${seed}-0`);
      watchSyncs((store, sizes) => {
        if (store === join(data, "tree")) synced = sizes;
      });
      for (let life = 1; life <= 3; life++) {
        mkdirSync(data, { recursive: true });
        const files = new LossyFiles(data);
        await files.adopt();
        // So large that the store writes only to its journal.
        const engine = await openDiskEngine({
          folder: data,
          files,
          segmentBytes: 64 * 1024,
          memtableBytes: 1e8,
        });
        await verify(engine, notes, (one) => notes.push(one));
        const enough = new AbortController();
        const working = work(engine, life * 1e6, (one) => notes.push(one), enough.signal);
        await sleep(20 + random() * 150);
        const known = notes.length;
        const lost = join(folder, `lossy-${seed}-${life}`);
        mkdirSync(join(lost, "tree"), { recursive: true });
        const sure = { synced, names: files.storeNames };
        loseStore(join(data, "tree"), join(lost, "tree"), sure, random);
        await files.lose(lost, random);
        notes.length = known;
        enough.abort();
        await working;
        await engine.close();
        notes.length = known;
        data = lost;
      }
      await using engine = await openDiskEngine({ folder: data, ...SMALL });
      await verify(engine, notes, () => {});
    },
  );

  test(
    `acknowledged writes survive ${LOSSES} power failures during compactions`,
    async () => {
      const random = randomFrom(Date.now());
      for (let round = 1; round <= LOSSES; round++) {
        using crash = crashing(`stopped-${round}`);
        // At a random moment, or when it has acknowledged a write to a journal that the store has just created.
        const isAtJournal = round % 2 === 0;
        const child = await crash.start(1, isAtJournal ? "2" : "");
        if (!isAtJournal) {
          await sleep(100 + random() * 400);
          child.kill("SIGSTOP");
        }
        // The process has stopped when the system reports it.
        while (!/^State:\s+T/m.test(readFileSync(`/proc/${child.pid}/status`, "utf8"))) await sleep(1);
        const notes = crash.notes();
        const { sizes } = notes.filter((one) => one.on === "sync").at(-1) ?? { sizes: {} };
        const { names } = notes.filter((one) => one.on === "names").at(-1) ?? { names: [] };
        const lost = join(folder, `stopped-${round}-lost`);
        cpSync(crash.data, lost, { recursive: true });
        rmSync(join(lost, "tree"), { recursive: true });
        mkdirSync(join(lost, "tree"));
        const sure = { synced: sizes, names: new Set(names) };
        loseStore(join(crash.data, "tree"), join(lost, "tree"), sure, random);
        await kill(child);
        await using engine = await openDiskEngine({ folder: lost, ...SMALL });
        await verify(engine, notes, () => {});
      }
    },
    30_000 + LOSSES * 5000,
  );
});
