import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { rechunk } from "../../../lib/rechunk.js";
import { BLOCK_BYTES, BlobChecksums, bytesOnDisk } from "./blob-checksums.js";
import { storedBlobs } from "./blobs.js";
import { DamageError, FolderError, isReadOnlyError } from "./errors.js";
import { nodeFiles } from "./files.js";
import { FORMAT, folderFormat, partsOf } from "./folder.js";
import { type FolderLock, folderInUse, lockFolder, lockHolder } from "./lock-file.js";
import { SEGMENT_HEADER_BYTES } from "./log-frame.js";
import { readTail } from "./log-recovery.js";
import { listLogs } from "./log-settings.js";
import { SegmentReader, segmentName, segmentsIn } from "./segment.js";
import { readStoreParts } from "./store-check.js";
import { StoreReader } from "./store-reader.js";
import { StoreTableReader } from "./store-table.js";

/** The result of checking a data folder. */
export interface CheckReport {
  /** A line for each damage. */
  damaged: string[];
  /** The number of keys that were read. */
  keys: number;
  /** The number of logs that were read. */
  logs: number;
  /** The number of records in these logs. */
  records: number;
  /** The number of blobs that were read. */
  blobs: number;
}

/** Reads all of a data folder, which no process may have open, and reports everything that is damaged. */
export async function checkFolder(folder: string): Promise<CheckReport> {
  const format = await folderFormat(nodeFiles, folder);
  if (format !== FORMAT) {
    const why =
      format === undefined ? "it is empty" : `its format is ${format}, and this version's is ${FORMAT}`;
    throw new FolderError(`Cannot check the data folder "${folder}": ${why}`);
  }
  const lock = await lockToRead(folder);
  const report: CheckReport = { damaged: [], keys: 0, logs: 0, records: 0, blobs: 0 };
  const parts = partsOf(folder);
  const damaged = (error: DamageError) => {
    if (!report.damaged.includes(error.message)) report.damaged.push(error.message);
  };
  try {
    await checkTables(parts.tree, damaged);
    const store = await StoreReader.open(parts.tree, damaged);
    for await (const _ of store.all("")) report.keys++;
    await reportDamage(report, () => checkLogs(store, parts.logs, report));
    await reportDamage(report, () => checkBlobs(store, parts.blobs, report));
    return report;
  } finally {
    await lock?.release();
  }
}

/** Locks the folder, unless it is on a read-only mount: then no process of this machine can open it either. */
async function lockToRead(folder: string): Promise<FolderLock | undefined> {
  try {
    return await lockFolder(folder, () => {});
  } catch (error) {
    if (!isReadOnlyError(error)) throw error;
    const holder = await lockHolder(folder);
    if (holder) throw folderInUse(folder, holder);
    return undefined;
  }
}

/** Runs `read`, and adds a damage that it throws to the report. */
async function reportDamage<T>(report: CheckReport, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    const { code, path = "" } = Object(error) as { code?: string; path?: string };
    const damage = code === "ENOENT" ? new DamageError(path, "it is missing") : error;
    if (!(damage instanceof DamageError)) throw error;
    report.damaged.push(damage.message);
    return undefined;
  }
}

async function checkTables(folder: string, damaged: (error: DamageError) => void): Promise<void> {
  const { tables } = await readStoreParts(folder, damaged);
  for (const { path, size } of tables) {
    for await (const error of (await StoreTableReader.read(path)).damage(size)) damaged(error);
  }
}

async function checkLogs(store: StoreReader, folder: string, report: CheckReport): Promise<void> {
  for await (const { settings } of listLogs(store)) {
    report.logs++;
    await reportDamage(report, () => checkLog(join(folder, settings.id), settings.next ?? 1, report));
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

/** The offset after the segment's last record. */
async function checkSegment(folder: string, base: number): Promise<number> {
  const reader = await SegmentReader.open(folder, base);
  if (!reader) return base;
  try {
    const end = await reader.size();
    let next = base;
    for (let at = SEGMENT_HEADER_BYTES; at < end; ) {
      for (const { head } of await reader.frames(at, end)) {
        if (head.first !== next)
          throw new DamageError(reader.path, `it has offset ${head.first} instead of ${next}`);
        next += head.count;
        at = head.end;
      }
    }
    return next;
  } finally {
    await reader.close();
  }
}

async function checkBlobs(store: StoreReader, folder: string, report: CheckReport): Promise<void> {
  for await (const { name, file, size, sha256 } of storedBlobs(store)) {
    report.blobs++;
    await reportDamage(report, () => checkBlob(join(folder, file), { name, size, sha256 }));
  }
}

async function checkBlob(
  path: string,
  { name, size, sha256 }: { name: string; size: number; sha256: string },
) {
  const label = `the file of ${JSON.stringify(name)}`;
  const hash = createHash("sha256");
  const sums = new BlobChecksums();
  for await (const block of rechunk(bytesOf(path, size), BLOCK_BYTES)) {
    hash.update(block);
    sums.add(block);
  }
  const expected = bytesOnDisk(size);
  const { size: actual } = await stat(path);
  if (actual !== expected) throw new DamageError(path, `${label} has ${actual} bytes of ${expected}`);
  const at = sums.firstDifference(await bytesFrom(path, size));
  if (at !== undefined)
    throw new DamageError(path, `${label} has a wrong checksum in the block at byte ${at}`);
  if (hash.digest("hex") !== sha256) throw new DamageError(path, `${label} does not match its SHA-256`);
}

/** The first `size` bytes of a file. */
async function* bytesOf(path: string, size: number): AsyncGenerator<Uint8Array, void, undefined> {
  if (size > 0) yield* createReadStream(path, { end: size - 1 }) as AsyncIterable<Uint8Array>;
}

/** The bytes of a file from `start` on. */
async function bytesFrom(path: string, start: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { start }) as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
