import type { WriteOp } from "./store.js";
import { Tree, type TreeSnapshot } from "./tree.js";

/** What is written at a time. */
const AT_ONCE_BYTES = 2 * 1024 ** 2;

/** Makes a tree of its own in `folder` of what another was at that moment. Resolves when it is on the disk. */
export async function copyTree(moment: TreeSnapshot, folder: string): Promise<void> {
  const books = await moment.books();
  const { clocks } = moment;
  const tree = await Tree.open(folder, { memtableBytes: 4 * 1024 ** 2, cacheBytes: 0, clocks, books });
  try {
    let ops: WriteOp[] = [];
    let bytes = 0;
    for await (const op of moment.all("")) {
      ops.push(op);
      bytes += op.key.length + op.value.length;
      if (bytes < AT_ONCE_BYTES) continue;
      await tree.write(ops);
      ops = [];
      bytes = 0;
    }
    // The books are written with whatever is.
    await tree.write([...ops, { key: "copied", value: undefined }]);
  } finally {
    await tree.close();
  }
}
