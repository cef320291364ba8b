import { open } from "node:fs/promises";
import { join } from "node:path";
import { type DiskBlobs, storedBlobs } from "./blobs.js";
import { FolderError, toEngineFault } from "./errors.js";
import { nodeFiles } from "./files.js";
import { partsOf, requireEmptyFolder, syncFolders, writeFormat } from "./folder.js";
import { listLogs } from "./log-settings.js";
import type { DiskLogs } from "./logs.js";
import type { Tree, TreeSnapshot } from "./tree.js";
import { copyTree } from "./tree-copy.js";

/** The parts of an open engine that a backup copies. */
export interface BackupSource {
  folder: string;
  tree: Tree;
  logs: DiskLogs;
  blobs: DiskBlobs;
}

const COPY_BYTES = 1024 ** 2;

/**
 * Writes a consistent snapshot of `source` to the folder `to`. The format file comes last: without it, the backup is
 * incomplete.
 */
export async function backUp(source: BackupSource, to: string): Promise<void> {
  await requireEmptyFolder(to);
  const releases = [source.logs.pin(), source.blobs.pin()];
  try {
    const { extents, snapshot } = await snapshotOf(source);
    releases.push(() => void snapshot.release());
    const from = partsOf(source.folder);
    const parts = partsOf(to);
    for (const part of Object.values(parts)) await nodeFiles.mkdir(part);
    await copyTree(snapshot, parts.tree);
    for (const [id, segments] of extents) {
      await nodeFiles.mkdir(join(parts.logs, id));
      for (const { name, end } of segments)
        await copy(join(from.logs, id, name), join(parts.logs, id, name), end);
    }
    for await (const { file } of storedBlobs(snapshot)) {
      await nodeFiles.mkdir(join(parts.blobs, file, ".."));
      await copy(join(from.blobs, file), join(parts.blobs, file));
    }
    await syncFolders(nodeFiles, to);
    await writeFormat(nodeFiles, to);
  } finally {
    for (const release of releases) release();
  }
}

/** The extents of the logs and a snapshot of the tree, taken in the same turn of the event loop. */
async function snapshotOf({ tree, logs }: BackupSource) {
  while (true) {
    await logs.openAll();
    const extents = logs.extents();
    const snapshot: TreeSnapshot = tree.snapshot();
    let isComplete = true;
    for await (const { settings } of listLogs(snapshot)) isComplete &&= extents.has(settings.id);
    if (isComplete) return { extents, snapshot };
    // A log was created in the meantime.
    await snapshot.release();
  }
}

/** Copies the first `end` bytes, or all, and syncs them. */
async function copy(from: string, to: string, end?: number): Promise<void> {
  const source = await open(from, "r");
  try {
    const target = await nodeFiles.open(to, "w+");
    try {
      const size = end ?? (await source.stat()).size;
      const bytes = Buffer.allocUnsafe(Math.min(COPY_BYTES, Math.max(1, size)));
      for (let at = 0; at < size; ) {
        const { bytesRead } = await source.read(bytes, 0, Math.min(bytes.length, size - at), at);
        if (bytesRead === 0) throw new FolderError(`Cannot copy ${from}: it ends at byte ${at} of ${size}`);
        // OpenFile.write() writes all bytes. A single write to a nearly full disk may write only a part.
        await target.write(bytes.subarray(0, bytesRead), at);
        at += bytesRead;
      }
      await target.sync();
    } finally {
      await target.close();
    }
  } catch (error) {
    const why = toEngineFault(error)?.message;
    throw why === undefined ? error : new FolderError(`Cannot write the backup ${to}: ${why}`, error);
  } finally {
    await source.close();
  }
}
