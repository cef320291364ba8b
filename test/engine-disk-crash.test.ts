import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sleep } from "../src/internal/timer.js";
import { checkFolder } from "../src/server/engines/disk/check.js";
import { openDiskEngine } from "../src/server/engines/disk/engine.js";
import { LossyFiles, randomFrom } from "./disk/lossy-files.js";
import { verify } from "./disk/verify.js";
import { type Note, work } from "./disk/work.js";

/** How often the process is killed and the power fails: more in the nightly run. */
const KILLS = Number(process.env["DISK_KILLS"] ?? 20);
const LOSSES = Number(process.env["DISK_LOSSES"] ?? 8);

/** Small, so that tables, compactions and segments come about while little is written. */
export const SMALL = { memtableBytes: 256 * 1024, cacheBytes: 256 * 1024, segmentBytes: 64 * 1024 };

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fairlead-"));
});

afterAll(() => rm(folder, { recursive: true }));

describe("kill -9", () => {
  const program = join(import.meta.dirname, `.tmp/disk-${process.pid}.mjs`);

  beforeAll(() =>
    build({
      entryPoints: [join(import.meta.dirname, "disk/process.ts")],
      outfile: program,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
    }),
  );

  afterAll(() => rm(program, { force: true }));

  test(
    `what was acknowledged is there, after ${KILLS} kills at any moment`,
    async () => {
      const [data, ledger] = [join(folder, "killed"), join(folder, "killed.ledger")];
      closeSync(openSync(ledger, "a"));
      const notes = () =>
        readFileSync(ledger, "utf8")
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line) as Note);
      const fd = openSync(ledger, "a");
      const note = (one: Note) => writeSync(fd, `${JSON.stringify(one)}\n`);
      const random = randomFrom(Date.now());
      try {
        for (let kill = 1; kill <= KILLS; kill++) {
          const child: ChildProcess = fork(program, [data, ledger, String(kill * 1e6)]);
          await once(child, "message");
          if (kill === 1)
            await assert.rejects(
              openDiskEngine({ folder: data }),
              new RegExp(`process ${child.pid} has it open`),
            );
          await sleep(random() * 250);
          child.kill("SIGKILL");
          await once(child, "exit");
          await using engine = await openDiskEngine({ folder: data, ...SMALL });
          await verify(engine, notes(), note);
        }
      } finally {
        closeSync(fd);
      }
      expect((await checkFolder(data)).damaged).toEqual([]);
    },
    30_000 + KILLS * 5000,
  );
});

describe("power loss", () => {
  test.each(Array.from({ length: LOSSES }, (_, seed) => seed))(
    "what was acknowledged is there, whatever else the disk has kept: seed %i",
    async (seed) => {
      const random = randomFrom(seed * 7919 + 1);
      const notes: Note[] = [];
      let data = join(folder, `lossy-${seed}-0`);
      for (let life = 1; life <= 3; life++) {
        mkdirSync(data, { recursive: true });
        const files = new LossyFiles(data);
        await files.adopt();
        const engine = await openDiskEngine({ folder: data, files, ...SMALL });
        await verify(engine, notes, (one) => notes.push(one));
        const enough = new AbortController();
        const working = work(engine, life * 1e6, (one) => notes.push(one), enough.signal);
        await sleep(20 + random() * 150);
        const known = notes.length;
        const lost = join(folder, `lossy-${seed}-${life}`);
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
});
