import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { jitteredMs } from "../../../lib/backoff.js";
import { canceled } from "../../../rpc/canceled.js";
import { sleep } from "../../../rpc/sleep.js";
import type { ServiceContext } from "../../context.js";
import type { Write } from "../../engine.js";
import { fenceConflict } from "../shared/fence.js";
import { type Address, COUNT_KEY } from "./address.js";
import { Draft } from "./draft.js";

/** One step on a partition. */
export interface PartitionOperation<T> {
  /** Every key that apply() asks for. */
  keys: readonly string[];
  /** What must hold in the commit, see fenceChecks(). One that does not fails this operation only. */
  fences?: readonly Write[];
  /** About how much it adds to a commit. */
  bytes?: number;
  /** Aborts when no one waits for the result any more: an operation that has not begun is then left out. */
  signal?: AbortSignal;
  /** Does the step on the draft; where it throws, it has changed nothing. May be called anew, on another draft. */
  apply(draft: Draft): T;
}

/** Called after each commit with what it changed; an operation's answer waits for what this returns. */
export type OnCommitted = (changes: Entry[]) => Promise<void> | undefined;

type Waiting = {
  operation: PartitionOperation<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
};

/** How much goes into one commit. */
const BATCH_OPERATIONS = 256;
const BATCH_BYTES = 4 * 1024 ** 2;

const CONFLICT_BACKOFF = { minMs: 1, maxMs: 100 };

/**
 * The writes of one partition, one after the other: what comes while a commit is under way goes into the next one
 * together, so that a busy partition costs one engine commit for many writes.
 */
export class Partition {
  readonly #address: Address;
  readonly #context: Pick<ServiceContext, "engine" | "limits" | "closing">;
  readonly #committed: OnCommitted;
  readonly #idle: () => void;
  #waiting: Waiting[] = [];
  #draining = false;
  #exists = false;

  /** `idle` is called whenever nothing is left to do. */
  constructor(
    address: Address,
    context: Pick<ServiceContext, "engine" | "limits" | "closing">,
    committed: OnCommitted,
    idle: () => void,
  ) {
    this.#address = address;
    this.#context = context;
    this.#committed = committed;
    this.#idle = idle;
  }

  /** Resolves with what `operation` made of the partition once that is durable, here and on the backups in sync. */
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
    this.#idle();
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
      const answers = batch.map((waiting) => attempt(waiting, draft));
      const writes = draft.writes();
      const commit = writes.length > 0 ? await engine.keys.commit(writes) : undefined;
      if (!commit || "version" in commit) {
        if (commit) this.#exists = true;
        const changes = draft.changes;
        const spread = changes.length > 0 ? this.#committed(changes) : undefined;
        for (const answer of answers) answer(spread);
        return;
      }
      // Another server that shares the engine was faster, or a lock was granted anew: the same on what is there now.
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
    const found = await this.#context.engine.keys.getMany(keys);
    const record = found.shift();
    const count = this.#exists ? undefined : found.shift();
    const snapshot = {
      record,
      count,
      fences: new Map(locks.map((key, i) => [key, found[i]])),
      entries: new Map(names.map((name, i) => [name, found[locks.length + i]])),
    };
    return new Draft(this.#address, snapshot, this.#context.limits.mapPartitions);
  }
}

/** Does one operation of a batch; the answer is given once the commit is there, and what it changed has spread. */
function attempt(
  { operation, resolve, reject }: Waiting,
  draft: Draft,
): (spread: Promise<void> | undefined) => void {
  const { fences = [] } = operation;
  try {
    const broken = draft.broken(fences);
    if (broken) throw fenceConflict(broken.check, broken.actual);
    const value = operation.apply(draft);
    draft.hold(fences);
    return (spread) => {
      if (spread) spread.then(() => resolve(value), reject);
      else resolve(value);
    };
  } catch (error) {
    return () => reject(error);
  }
}
