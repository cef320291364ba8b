import { ClassicLevel } from "classic-level";

type Batch = { write(options?: { sync?: boolean }): Promise<void> };

/** Writes a batch of the LevelDB in `folder` by calling `write`. `isSynced`: the batch asks for a sync. */
export type AroundBatch = (folder: string, write: () => Promise<void>, isSynced: boolean) => Promise<void>;

/** Writes all batches of all LevelDBs through `around`, until the returned function is called. */
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
