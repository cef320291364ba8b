import type { Transport } from "@connectrpc/connect";
import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import type { ServiceContext } from "../../context.js";
import { unavailable } from "../../faults.js";
import type { Address } from "./address.js";
import { isTombstone, timestampOf } from "./entry.js";
import { closingFault, type Group, notPrimary } from "./group.js";
import type { Partition } from "./partition.js";
import { Replica } from "./replica.js";
import { Tombstones } from "./tombstones.js";

/** Above every timestamp: what every backup has, where there is no backup. */
const ALL = 2n ** 64n;

export interface ReplicationOptions {
  context: Pick<ServiceContext, "engine" | "log" | "closing">;
  address: Address;
  /** The configuration that it follows; another one needs another replication. */
  group: NonNullable<Group>;
  partition: Pick<Partition, "run">;
  dial: (url: string) => Transport;
  /** The timestamp up to which every change is in the engine. */
  published: bigint;
}

/** What a primary does beside its own commits for one partition: it keeps the backups up to date. */
export class Replication {
  readonly group: NonNullable<Group>;
  readonly #replicas: Replica[];
  readonly #tombstones: Tombstones;
  readonly #ended = new AbortController();
  #deposed = false;

  constructor({ context, address, group, partition, dial, published }: ReplicationOptions) {
    const { engine, log, closing } = context;
    this.group = group;
    this.#tombstones = new Tombstones(address, engine.keys, partition);
    this.#replicas = group.backups.map(
      (url) =>
        new Replica({
          url,
          dial: () => dial(url),
          address,
          term: group.term,
          published,
          keys: engine.keys,
          ackTimeoutMs: group.ackTimeoutMs,
          log,
          onProgress: () => this.#tidy(),
          onDeposed: () => {
            const { primitive, partition } = address.header;
            const where = { url, group: address.group, map: primitive?.name, partition, term: group.term };
            log.error("a backup has seen a later term: this server is not the primary any more", where);
            this.#deposed = true;
            this.#end(notPrimary());
          },
        }),
    );
    const stop = () => this.#end(closingFault());
    closing.addEventListener("abort", stop, { once: true, signal: this.#ended.signal });
    if (closing.aborted) stop();
    this.#tidy();
  }

  /** Whether a backup has answered that there is a later primary. */
  get deposed(): boolean {
    return this.#deposed;
  }

  /** Resolves when every backup in sync has `changes`; rejects where this server turns out not to be the primary. */
  async publish(changes: readonly Entry[]): Promise<void> {
    if (this.#ended.signal.aborted) throw this.#ended.signal.reason;
    const last = changes.at(-1);
    if (!last) return;
    for (const entry of changes) {
      if (isTombstone(entry)) this.#tombstones.add(entry.key, timestampOf(entry));
    }
    await Promise.all(this.#replicas.map((replica) => replica.publish(changes, timestampOf(last))));
  }

  /** Ends the streams to the backups: the configuration has changed. */
  close(): void {
    this.#end(unavailable("the configuration of the map's group has changed"));
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
