import type { Transport } from "@connectrpc/connect";
import type { BackupRequest, Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { asyncDispose } from "../../../lib/dispose.js";
import { tokenOf, withCredential } from "../../access/credential.js";
import type { ServiceContext } from "../../context.js";
import { type Address, addressAt, addressOf, RECORD_PREFIX } from "./address.js";
import { backupOperation } from "./backup.js";
import { decodeDigest, timestampOf } from "./entry.js";
import {
  closingError,
  type Leadership,
  leadershipOf,
  type MapGroup,
  notPrimaryError,
  ownTerm,
} from "./group.js";
import { Partition, type PartitionOperation } from "./partition.js";
import { Replication } from "./replication.js";

type OpenPartition = { partition: Partition; replication: Replication | undefined };

/** The partitions with operations under way, and those that this server replicates to backups. */
export class Partitions {
  readonly #context: ServiceContext;
  readonly #open = new Map<string, OpenPartition>();
  /** The credentials for the backups of a group, if they need one. */
  readonly #tokens = new Map<string, string>();
  readonly #transports = new Map<string, Transport & Partial<AsyncDisposable>>();

  constructor(context: ServiceContext) {
    this.#context = context;
    const { components, platform } = context;
    for (const name of components.names("maps")) {
      const token = tokenOf(platform.env, components.get("maps", name), `maps[${JSON.stringify(name)}]`);
      if (token !== undefined) this.#tokens.set(name, token);
    }
    context.closing.addEventListener("abort", () => this.#closeTransports(), { once: true });
    void this.#resume();
  }

  /** This server's leadership of the partition. Fails if it is not the primary; see leadershipOf(). */
  leadership(address: Address, seenTerm: bigint): Leadership {
    const leadership = leadershipOf(this.#group(address), seenTerm);
    const replication = this.#open.get(address.recordKey)?.replication;
    if (replication?.deposed) throw notPrimaryError();
    if (leadership.keepsTombstones && this.#context.closing.aborted) throw closingError();
    return leadership;
  }

  run<T>(address: Address, operation: PartitionOperation<T>): Promise<T> {
    return this.#openPartition(address).partition.run(operation);
  }

  /** Applies a primary's request; returns false if its term is older. */
  async backUp(request: BackupRequest): Promise<boolean> {
    const address = addressOf(request.header);
    const own = ownTerm(this.#group(address));
    const applied = await this.run(address, backupOperation(request, own));
    if (applied && own !== undefined && request.entries.length > 0)
      this.#openPartition(address).replication?.depose();
    return applied;
  }

  #openPartition(address: Address): OpenPartition {
    const present = this.#open.get(address.recordKey);
    if (present) return present;
    const partition = new Partition(
      address,
      this.#context,
      (changes) => this.#replicate(address, changes),
      () => {
        if (!open.replication) this.#open.delete(address.recordKey);
      },
    );
    const open: OpenPartition = { partition, replication: undefined };
    this.#open.set(address.recordKey, open);
    return open;
  }

  #replicate(address: Address, changes: Entry[]): Promise<void> | undefined {
    const last = changes.at(-1);
    return this.#replication(address, last ? timestampOf(last) : 0n)?.publish(changes);
  }

  /** The replication to the backups; undefined if this server is not the primary by the configuration. */
  #replication(address: Address, published: bigint): Replication | undefined {
    const open = this.#openPartition(address);
    const group = this.#group(address);
    if (!group || group.primary !== undefined) return undefined;
    open.replication ??= new Replication({
      context: this.#context,
      address,
      group,
      partition: open.partition,
      dial: (url) => this.#dial(url, address),
      published,
    });
    return open.replication;
  }

  /** Resumes the replication of existing partitions, as their backups may have missed changes. */
  async #resume(): Promise<void> {
    const { engine, components, closing, log } = this.#context;
    const isPrimary = components
      .names("maps")
      .some((name) => ownTerm(components.find("maps", name)) !== undefined);
    if (!isPrimary) return;
    try {
      for await (const { key, value } of engine.keys.list(RECORD_PREFIX)) {
        if (closing.aborted) return;
        const address = addressAt(key);
        const { term, timestamp } = decodeDigest(value);
        const own = ownTerm(this.#group(address));
        if (own !== undefined && own >= term) this.#replication(address, timestamp);
      }
    } catch (error) {
      if (!closing.aborted) log.error({ err: error }, "the backups of the maps could not be resumed");
    }
  }

  #group({ group }: Address): MapGroup {
    return this.#context.components.find("maps", group);
  }

  #dial(url: string, { group }: Address): Transport {
    const id = `${url} ${group}`;
    let transport = this.#transports.get(id);
    if (!transport) {
      transport = withCredential(this.#context.platform.dial(url, "grpc"), this.#tokens.get(group));
      this.#transports.set(id, transport);
    }
    return transport;
  }

  #closeTransports(): void {
    for (const transport of this.#transports.values()) void transport[asyncDispose]?.();
    this.#transports.clear();
  }
}
