import type { Transport } from "@connectrpc/connect";
import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import type { ServiceContext } from "../../context.js";
import { type Address, addressFacts } from "./address.js";
import { isEntryTombstone, timestampOf } from "./entry.js";
import { closingError, type MapGroup, notPrimaryError } from "./group.js";
import type { Partition } from "./partition.js";
import { BackupReplica } from "./replica.js";
import { Tombstones } from "./tombstones.js";

/** Above every timestamp. */
const MAX_TIMESTAMP = 2n ** 64n;

export interface ReplicationOptions {
  context: Pick<ServiceContext, "engine" | "log" | "closing">;
  address: Address;
  group: NonNullable<MapGroup>;
  partition: Pick<Partition, "run">;
  dial: (url: string) => Transport;
  /** All changes up to this timestamp are in the engine. */
  published: bigint;
}

/** Replicates the changes of one partition from its primary to the backups. */
export class Replication {
  readonly #options: ReplicationOptions;
  readonly #replicas: BackupReplica[];
  readonly #tombstones: Tombstones;
  readonly #ended = new AbortController();
  #deposed = false;

  constructor(options: ReplicationOptions) {
    this.#options = options;
    const { context, address, group, partition, dial, published } = options;
    const { engine, log, closing } = context;
    this.#tombstones = new Tombstones(address, engine.keys, partition);
    this.#replicas = group.backups.map(
      (url) =>
        new BackupReplica({
          url,
          dial: () => dial(url),
          address,
          term: group.term,
          published,
          keys: engine.keys,
          ackTimeoutMs: group.ackTimeoutMs,
          log,
          onProgress: () => this.#collectTombstones(),
          onDeposed: () => this.depose(),
        }),
    );
    const close = () => this.#end(closingError());
    if (closing.aborted) close();
    else closing.addEventListener("abort", close, { once: true });
    this.#collectTombstones();
  }

  /** Whether a later primary has replaced this server. */
  get deposed(): boolean {
    return this.#deposed;
  }

  /** Resolves when every backup in sync has `changes`. Rejects if this server turns out not to be the primary. */
  async publish(changes: readonly Entry[]): Promise<void> {
    const last = changes.at(-1);
    if (!last) return;
    for (const entry of changes) {
      if (isEntryTombstone(entry)) this.#tombstones.add(entry.key, timestampOf(entry));
    }
    // The changes would reach no backup, and a backup may soon be the primary: they must not be acknowledged.
    if (this.#ended.signal.aborted && this.#replicas.length > 0) throw this.#ended.signal.reason;
    await Promise.all(this.#replicas.map((replica) => replica.publish(changes, timestampOf(last))));
  }

  /** Must be called when there is a later primary: ends the streams to the backups. */
  depose(): void {
    if (this.#deposed) return;
    this.#deposed = true;
    const { context, address, group } = this.#options;
    context.log.error(
      { ...addressFacts(address), term: group.term },
      "a later primary has replaced this server",
    );
    this.#end(notPrimaryError());
  }

  /** Writes under way fail with `reason`, as it is unknown whether the backups have them. */
  #end(reason: unknown): void {
    this.#ended.abort(reason);
    for (const replica of this.#replicas) replica.close(reason);
  }

  #collectTombstones(): void {
    void this.#tombstones.collect(() => {
      let replicated = MAX_TIMESTAMP;
      for (const { confirmed } of this.#replicas) if (confirmed < replicated) replicated = confirmed;
      return replicated;
    });
  }
}
