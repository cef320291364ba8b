import type { WriteOp } from "./store.js";
import { Tree, type TreeSnapshot } from "./tree.js";

/** The size of one write. */
const BATCH_BYTES = 2 * 1024 ** 2;

/** Writes a snapshot to a new tree in `folder`. Resolves when it is durable. */
export async function copyTree(snapshot: TreeSnapshot, folder: string): Promise<void> {
  const metadata = await snapshot.metadata();
  const { clocks } = snapshot;
  const tree = await Tree.open(folder, { memtableBytes: 4 * 1024 ** 2, cacheBytes: 0, clocks, metadata });
  try {
    let ops: WriteOp[] = [];
    let bytes = 0;
    for await (const op of snapshot.all("")) {
      ops.push(op);
      bytes += op.key.length + op.value.length;
      if (bytes < BATCH_BYTES) continue;
      await tree.write(ops);
      ops = [];
      bytes = 0;
    }
    // Every write also stores the metadata, so that this one does so even if nothing else is left.
    await tree.write([...ops, { key: "copied", value: undefined }]);
  } finally {
    await tree.close();
  }
}
