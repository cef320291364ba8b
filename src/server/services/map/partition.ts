import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { jitteredMs } from "../../../lib/backoff.js";
import { canceled } from "../../../rpc/canceled.js";
import { sleep } from "../../../rpc/sleep.js";
import type { ServiceContext } from "../../context.js";
import type { Write } from "../../engine.js";
import { fenceConflict } from "../shared/fence.js";
import { type Address, COUNT_KEY } from "./address.js";
import { Draft } from "./draft.js";

/** One operation on a partition. */
export interface PartitionOperation<T> {
  /** Every key that apply() reads. */
  keys: readonly string[];
  /** The checks of the commit, see fenceChecks(). A failed check fails this operation only. */
  fences?: readonly Write[];
  /** About how many bytes it adds to a commit. */
  bytes?: number;
  /** Aborts when the result is no longer needed: an operation that has not begun is then skipped. */
  signal?: AbortSignal;
  /** Applies the operation to the draft. If it throws, it has changed nothing. A retry calls it with a new draft. */
  apply(draft: Draft): T;
}

/**
 * Called after each batch with its changes, and the timestamp of the partition's latest change. The results of the
 * operations, and their errors, wait for the returned promise.
 */
export type OnCommitted = (changes: Entry[], timestamp: bigint) => Promise<void> | undefined;

type Waiting = {
  operation: PartitionOperation<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
};

/** The most operations and bytes of one commit. */
const BATCH_OPERATIONS = 256;
const BATCH_BYTES = 4 * 1024 ** 2;

const CONFLICT_BACKOFF = { minMs: 1, maxMs: 100 };

/**
 * Runs the operations of one partition, one commit at a time. Operations that arrive during a commit share the next
 * one, so that a busy partition needs one engine commit for many writes.
 */
export class Partition {
  readonly #address: Address;
  readonly #context: Pick<ServiceContext, "engine" | "limits" | "closing">;
  readonly #onCommitted: OnCommitted;
  readonly #onIdle: () => void;
  #waiting: Waiting[] = [];
  #draining = false;
  #exists = false;

  /** Calls `onIdle` whenever no operations are left. */
  constructor(
    address: Address,
    context: Pick<ServiceContext, "engine" | "limits" | "closing">,
    onCommitted: OnCommitted,
    onIdle: () => void,
  ) {
    this.#address = address;
    this.#context = context;
    this.#onCommitted = onCommitted;
    this.#onIdle = onIdle;
  }

  /** Resolves with the operation's result when it is durable, here and on the backups that are in sync. */
  run<T>(operation: PartitionOperation<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ operation, resolve: resolve as (value: unknown) => void, reject });
      if (!this.#draining) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        await this.#perform(batch);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#draining = false;
    this.#onIdle();
  }

  #take(): Waiting[] {
    const batch: Waiting[] = [];
    let bytes = 0;
    let taken = 0;
    for (const waiting of this.#waiting) {
      const { signal, bytes: more = 0 } = waiting.operation;
      if (batch.length === BATCH_OPERATIONS || (batch.length > 0 && bytes + more > BATCH_BYTES)) break;
      taken++;
      if (signal?.aborted) {
        waiting.reject(canceled(signal));
      } else {
        batch.push(waiting);
        bytes += more;
      }
    }
    this.#waiting = this.#waiting.slice(taken);
    return batch;
  }

  async #perform(batch: Waiting[]): Promise<void> {
    const { engine, closing } = this.#context;
    for (let conflicts = 1; batch.length > 0; conflicts++) {
      const draft = await this.#read(batch);
      const settlers = batch.map((waiting) => attempt(waiting, draft));
      const writes = draft.writes();
      const commit = writes.length > 0 ? await engine.keys.commit(writes) : undefined;
      if (!commit || "version" in commit) {
        if (commit) this.#exists = true;
        const replicated = this.#onCommitted(draft.changes, draft.timestamp);
        for (const settle of settlers) settle(replicated);
        return;
      }
      // Another server on the same engine was faster, or a lock was granted again: retries on the current entries.
      await sleep(jitteredMs(CONFLICT_BACKOFF, conflicts), closing);
    }
  }

  async #read(batch: Waiting[]): Promise<Draft> {
    const { recordKey, entriesPrefix } = this.#address;
    const names = [...new Set(batch.flatMap(({ operation }) => operation.keys))];
    const locks = [
      ...new Set(batch.flatMap(({ operation }) => operation.fences ?? []).map(({ key }) => key)),
    ];
    const keys = [recordKey, COUNT_KEY, ...locks, ...names.map((name) => entriesPrefix + name)];
    if (this.#exists) keys.splice(1, 1);
    const entries = await this.#context.engine.keys.getMany(keys);
    const record = entries.shift();
    const count = this.#exists ? undefined : entries.shift();
    const snapshot = {
      record,
      count,
      fences: new Map(locks.map((key, i) => [key, entries[i]])),
      entries: new Map(names.map((name, i) => [name, entries[locks.length + i]])),
    };
    return new Draft(this.#address, snapshot, this.#context.limits.mapPartitions);
  }
}

/** Applies one operation of a batch. The returned function settles it after the commit, when it is replicated. */
function attempt(
  { operation, resolve, reject }: Waiting,
  draft: Draft,
): (replicated: Promise<void> | undefined) => void {
  const { fences = [] } = operation;
  try {
    const failed = draft.failedCheck(fences);
    if (failed) throw fenceConflict(failed.check, failed.actual);
    const value = operation.apply(draft);
    draft.addChecks(fences);
    return (replicated) => {
      if (replicated) replicated.then(() => resolve(value), reject);
      else resolve(value);
    };
  } catch (error) {
    return (replicated) => {
      if (replicated) replicated.then(() => reject(error), reject);
      else reject(error);
    };
  }
}
