import { execFileSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Engine } from "fairlead/server";
import { compare, type Row } from "./table.js";

const MB = 1e6;

const timed = async (bytes: number, run: () => unknown): Promise<number> => {
  const began = performance.now();
  await run();
  return bytes / MB / ((performance.now() - began) / 1000);
};

/** Files through the engine interface, against `cp` with a sync and `cat`. */
export async function blobRows({ blobs }: Engine, folder: string, quick: boolean): Promise<Row[]> {
  const size = (quick ? 32 : 256) * 1024 ** 2;
  const bytes = randomFillSync(Buffer.alloc(size));
  const source = join(folder, "source");
  writeFileSync(source, bytes);
  const content = async function* () {
    for (let at = 0; at < size; at += 256 * 1024) yield bytes.subarray(at, at + 256 * 1024);
  };
  const rounds = quick ? 1 : 5;
  const shell = (command: string) => execFileSync("sh", ["-c", command], { cwd: folder });
  const higher = (ours: number, theirs: number) => ours / theirs;
  const writes = await compare(
    rounds,
    () => timed(size, () => blobs.put("b", content(), { metadata: {}, ifAbsent: false })),
    () => timed(size, () => shell("cp source copy && sync copy")),
    higher,
  );
  const read = () =>
    timed(size, async () => {
      for await (const _ of (await blobs.get("b"))?.content ?? []);
    });
  const cat = () => timed(size, () => shell("cat copy >/dev/null"));
  const cached = await compare(rounds, read, cat, higher);
  /** Drops the files from the page cache of the kernel. */
  const forget = () => shell("find . -type f -size +1M -exec dd if={} iflag=nocache count=0 status=none ';'");
  const fresh = (run: () => Promise<number>) => {
    forget();
    return run();
  };
  const uncached = await compare(
    rounds,
    () => fresh(read),
    () => fresh(cat),
    higher,
  );
  const detail = ({ ours, theirs }: { ours: number[]; theirs: number[] }) =>
    [ours, theirs]
      .map((all) => `${Math.round(all.reduce((sum, one) => sum + one, 0) / all.length)} MB/s`)
      .join(" and ");
  return [
    {
      what: "file writes, against cp and sync",
      ratio: writes.ratio,
      goal: { atLeast: 0.7 },
      detail: detail(writes),
    },
    {
      what: "file reads from the disk, against cat",
      ratio: uncached.ratio,
      goal: { atLeast: 0.7 },
      detail: detail(uncached),
    },
    {
      what: "file reads from the kernel's memory, against cat",
      ratio: cached.ratio,
      goal: { atLeast: 0.7 },
      detail: detail(cached),
    },
  ];
}
