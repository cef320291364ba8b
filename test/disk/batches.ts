import { ClassicLevel } from "classic-level";

type Batch = { write(options?: { sync?: boolean }): Promise<void> };

/** Does what a batch of the LevelDB in `folder` asks for; `isSynced`: to be on the disk then. */
export type AroundBatch = (folder: string, write: () => Promise<void>, isSynced: boolean) => Promise<void>;

/** Has all batches of LevelDBs written by `around`, until what it returns is called. */
export function aroundBatches(around: AroundBatch): () => void {
  const begin = ClassicLevel.prototype.batch as () => Batch;
  const watched = function (this: ClassicLevel) {
    const batch = begin.call(this);
    const write = batch.write.bind(batch);
    batch.write = (options) => around(this.location, () => write(options), options?.sync === true);
    return batch;
  };
  Object.assign(ClassicLevel.prototype, { batch: watched });
  return () => void Object.assign(ClassicLevel.prototype, { batch: begin });
}
