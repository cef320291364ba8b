import type { Transport } from "@connectrpc/connect";
import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import type { ServiceContext } from "../../context.js";
import { type Address, addressFacts } from "./address.js";
import { isEntryTombstone, timestampOf } from "./entry.js";
import { closingError, type MapGroup, notPrimaryError } from "./group.js";
import type { Partition } from "./partition.js";
import { BackupReplica } from "./replica.js";
import { Tombstones } from "./tombstones.js";

/** Above every timestamp: what every backup has, where there is no backup. */
const ALL = 2n ** 64n;

export interface ReplicationOptions {
  context: Pick<ServiceContext, "engine" | "log" | "closing">;
  address: Address;
  group: NonNullable<MapGroup>;
  partition: Pick<Partition, "run">;
  dial: (url: string) => Transport;
  /** The timestamp up to which every change is in the engine. */
  published: bigint;
}

/** What a primary does beside its own commits for one partition: it keeps the backups up to date. */
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
          onProgress: () => this.#tidy(),
          onDeposed: () => this.depose(),
        }),
    );
    const close = () => this.#end(closingError());
    if (closing.aborted) close();
    else closing.addEventListener("abort", close, { once: true });
    this.#tidy();
  }

  /** Whether there is a later primary. */
  get deposed(): boolean {
    return this.#deposed;
  }

  /** Resolves when every backup in sync has `changes`; rejects where this server turns out not to be the primary. */
  async publish(changes: readonly Entry[]): Promise<void> {
    const last = changes.at(-1);
    if (!last) return;
    for (const entry of changes) {
      if (isEntryTombstone(entry)) this.#tombstones.add(entry.key, timestampOf(entry));
    }
    // Nobody would send them any more, and a backup may soon be the primary: not to be acknowledged.
    if (this.#ended.signal.aborted && this.#replicas.length > 0) throw this.#ended.signal.reason;
    await Promise.all(this.#replicas.map((replica) => replica.publish(changes, timestampOf(last))));
  }

  /** A later primary has been heard of: ends the streams to the backups. */
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

  /** Writes under way fail with `reason`: whether the backups have them is not known. */
  #end(reason: unknown): void {
    this.#ended.abort(reason);
    for (const replica of this.#replicas) replica.close(reason);
  }

  #tidy(): void {
    void this.#tombstones.tidy(() => {
      let everywhere = ALL;
      for (const { has } of this.#replicas) if (has < everywhere) everywhere = has;
      return everywhere;
    });
  }
}
