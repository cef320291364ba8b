import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Clock } from "../clock.js";
import { bytesOnDisk } from "./blob-checksums.js";
import { storedBlobs } from "./blobs.js";
import { DamageError, FolderError } from "./faults.js";
import { nodeFiles } from "./files.js";
import { FORMAT, formatOf, partsOf } from "./folder.js";
import { lockFolder } from "./lock-file.js";
import { SEGMENT_HEADER_BYTES } from "./log-frame.js";
import { readTail } from "./log-recovery.js";
import { knownLogs } from "./logs.js";
import { SegmentReader, segmentName, segmentsIn } from "./segment.js";
import { checkStore } from "./store-check.js";
import { checkTable } from "./store-table.js";
import { Tree } from "./tree.js";

/** What a check has found. */
export interface CheckReport {
  /** What is damaged, a line each. */
  damaged: string[];
  /** How many keys were read. */
  keys: number;
  /** How many logs were read. */
  logs: number;
  /** How many records these have. */
  records: number;
  /** How many blobs were read. */
  blobs: number;
}

/** Reads all of the data folder, which no process may have open, and tells what is not as it was written. */
export async function checkFolder(folder: string): Promise<CheckReport> {
  const format = await formatOf(nodeFiles, folder);
  if (format !== FORMAT) {
    const why =
      format === undefined ? "it is empty" : `its format is ${format}, and this version's is ${FORMAT}`;
    throw new FolderError(`Cannot check the data folder "${folder}": ${why}`);
  }
  const lock = await lockFolder(folder, () => {});
  const report: CheckReport = { damaged: [], keys: 0, logs: 0, records: 0, blobs: 0 };
  const parts = partsOf(folder);
  try {
    await checkTables(parts.tree, report);
    const options = {
      memtableBytes: 4 * 1024 ** 2,
      cacheBytes: 0,
      isUnchecked: true,
      clocks: Clock.sourcesOf(),
    };
    const tree = await Tree.open(parts.tree, options).catch((error: unknown) => {
      if (report.damaged.length === 0) throw error;
    });
    if (!tree) return report;
    try {
      await noting(report, () => checkEntries(tree, report));
      await noting(report, () => checkLogs(tree, parts.logs, report));
      await noting(report, () => checkBlobs(tree, parts.blobs, report));
    } finally {
      await tree.close();
    }
    return report;
  } finally {
    await lock.release();
  }
}

/** Runs `read`; what is damaged goes to the report. */
async function noting<T>(report: CheckReport, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DamageError) && (error as { code?: string }).code !== "ENOENT") throw error;
    report.damaged.push((error as Error).message);
    return undefined;
  }
}

async function checkTables(folder: string, report: CheckReport): Promise<void> {
  const tables = await noting(report, () => checkStore(folder));
  for (const { path, size } of tables ?? []) await noting(report, () => checkTable(path, size));
}

async function checkEntries(tree: Tree, report: CheckReport): Promise<void> {
  for await (const _ of tree.all("")) report.keys++;
}

async function checkLogs(tree: Tree, folder: string, report: CheckReport): Promise<void> {
  for await (const { settings } of knownLogs(tree)) {
    report.logs++;
    await noting(report, () => checkLog(join(folder, settings.id), settings.next ?? 1, report));
  }
}

async function checkLog(folder: string, least: number, report: CheckReport): Promise<void> {
  const bases = segmentsIn(await readdir(folder));
  if (bases.length === 0) throw new DamageError(folder, "its segments are missing");
  for (const [i, base] of bases.entries()) {
    const following = bases[i + 1];
    const next =
      following === undefined ? (await readTail(folder, base))?.next : await checkSegment(folder, base);
    report.records += (next ?? base) - base;
    if (following === undefined && (next ?? base) < least) {
      throw new DamageError(join(folder, segmentName(base)), `it ends at offset ${next ?? base} of ${least}`);
    }
    if (following !== undefined && next !== following) {
      throw new DamageError(
        folder,
        `after offset ${(next ?? base) - 1} comes a segment that begins at ${following}`,
      );
    }
  }
}

/** The offset behind the segment's last record. */
async function checkSegment(folder: string, base: number): Promise<number> {
  const reader = await SegmentReader.open(folder, base);
  if (!reader) return base;
  try {
    const end = await reader.size();
    let next = base;
    for (let at = SEGMENT_HEADER_BYTES; at < end; ) {
      for (const { head } of await reader.frames(at, end)) {
        if (head.first !== next)
          throw new DamageError(reader.path, `offset ${head.first} stands where ${next} has to be`);
        next += head.count;
        at = head.end;
      }
    }
    return next;
  } finally {
    await reader.close();
  }
}

async function checkBlobs(tree: Tree, folder: string, report: CheckReport): Promise<void> {
  for await (const { name, file, size, sha256 } of storedBlobs(tree)) {
    report.blobs++;
    const path = join(folder, file);
    await noting(report, async () => {
      const hash = createHash("sha256");
      let read = 0;
      for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
        hash.update(chunk.subarray(0, Math.max(0, size - read)));
        read += chunk.length;
      }
      const what = `the file of ${JSON.stringify(name)}`;
      const whole = bytesOnDisk(size);
      if (read !== whole) throw new DamageError(path, `${what} has ${read} bytes of ${whole}`);
      if (hash.digest("hex") !== sha256) throw new DamageError(path, `${what} is not what its checksum says`);
    });
  }
}
