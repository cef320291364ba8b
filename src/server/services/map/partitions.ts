import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { BackupRequest, Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { asyncDispose } from "../../../lib/dispose.js";
import { abortable } from "../../../rpc/abortable.js";
import { tokenOf, withCredential } from "../../access/credential.js";
import type { ServiceContext } from "../../context.js";
import { EngineFault } from "../../engine.js";
import { unavailable } from "../../errors.js";
import { type Address, addressAt, addressOf, RECORD_PREFIX } from "./address.js";
import { backupOperation } from "./backup.js";
import { type Control, controlIn, refuseControl } from "./control.js";
import { copiesIn, copyIdOf, otherCopyError } from "./copies.js";
import { backUpElected } from "./elected-backup.js";
import { Election } from "./election.js";
import { decodeDigest, decodeEntry, timestampOf } from "./entry.js";
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
import type { LeadershipAt } from "./write.js";

type OpenPartition = { partition: Partition; replication: Replication | undefined };

/** The partitions with operations under way, and those that this server replicates to backups. */
export class Partitions {
  readonly #context: ServiceContext;
  readonly #open = new Map<string, OpenPartition>();
  /** The last stream of an elected primary to each of this server's copies. */
  readonly #streams = new Map<string, { term: bigint; stream: bigint }>();
  /** The credentials for the backups of a group, if they need one. */
  readonly #tokens = new Map<string, string>();
  readonly #transports = new Map<string, Transport & Partial<AsyncDisposable>>();
  /** The elections of the groups that have them. */
  readonly #elections = new Map<string, Election>();
  readonly #copyId: () => Promise<string>;
  #closed: Promise<void> | undefined;

  constructor(context: ServiceContext) {
    this.#context = context;
    const { components, platform, engine } = context;
    this.#copyId = copyIdOf(engine.keys, platform.environment.random);
    for (const name of components.names("maps")) {
      const token = tokenOf(platform.env, components.get("maps", name), `maps[${JSON.stringify(name)}]`);
      if (token !== undefined) this.#tokens.set(name, token);
      this.#elect(name);
    }
    context.closing.addEventListener("abort", () => void this.#close(), { once: true });
    context.beforeClose(() => this.#close());
    void this.#resume();
  }

  /**
   * Runs a write. `operation` gets the function that returns the leadership, given the term that the partition has
   * seen. Fails if this server is not the primary.
   */
  async write<T>(
    address: Address,
    signal: AbortSignal,
    operation: (leadershipAt: LeadershipAt) => PartitionOperation<T>,
  ): Promise<T> {
    const election = this.#elections.get(address.group);
    if (!election) {
      const leadershipAt = (seen: bigint) => this.#leadership(address, seen);
      // A backup refuses at once. The term that the partition has seen is known only when the operation runs.
      leadershipAt(0n);
      return this.#run(address, operation(leadershipAt));
    }
    const primary = await election.lead(address, signal);
    return primary.serve(async () => {
      try {
        const write = operation((seen) => primary.leadership(seen));
        const result = await this.#run(address, write);
        primary.confirm();
        return result;
      } catch (error) {
        if (error instanceof EngineFault && error.reason !== "full") election.restart(address.recordKey);
        // A conflict counts only if no later primary can have resolved it in the meantime.
        if (error instanceof ConnectError && error.code === Code.Aborted) primary.confirm();
        throw error;
      }
    });
  }

  /** The entry at `key`, or its tombstone. Fails if this server is not the primary. */
  async read(address: Address, key: string, signal: AbortSignal): Promise<Entry | undefined> {
    const { keys } = this.#context.engine;
    const get = async () => {
      const [record, stored] = await keys.getMany([address.recordKey, address.entriesPrefix + key]);
      const entry = stored && decodeEntry(stored.value);
      return { seen: record ? decodeDigest(record.value).term : 0n, entry };
    };
    const election = this.#elections.get(address.group);
    if (!election) {
      const { seen, entry } = await get();
      this.#leadership(address, seen);
      return entry;
    }
    const primary = await election.lead(address, signal);
    return primary.serve(async () => {
      const { seen, entry } = await get();
      // A failover must not undo what was read.
      if (entry) {
        await abortable(primary.settled(timestampOf(entry)), signal).catch((error: unknown) => {
          primary.check();
          throw error;
        });
      }
      primary.leadership(seen);
      return entry;
    });
  }

  #elect(group: string): void {
    const { components, platform, engine, electionEngine, limits, draining, log, count } = this.#context;
    const { election, ackTimeoutMs } = components.get("maps", group);
    if (!election || !electionEngine) return;
    const { keys } = engine;
    const run = (address: Address): Pick<Partition, "run"> => ({
      run: (operation) => this.#run(address, operation),
    });
    this.#elections.set(
      group,
      new Election({
        group,
        election,
        ackTimeoutMs,
        mostPartitions: limits.mapPartitions,
        keys: electionEngine.keys,
        copies: {
          keys,
          id: this.#copyId,
          raise: (...at) => this.#raise(...at),
          list: () => copiesIn(keys),
          run,
        },
        dial: (url) => this.#dial(url, { group }),
        environment: platform.environment,
        draining,
        log,
        count,
      }),
    );
  }

  /** Raises the term of the copy, so that it refuses requests of older ones. */
  #raise(address: Address, term: bigint): Promise<{ term: bigint; timestamp: bigint }> {
    return this.#run(address, {
      keys: [],
      apply(draft) {
        draft.raise(term, 0n);
        return { term: draft.term, timestamp: draft.timestamp };
      },
    });
  }

  /** This server's leadership of the partition. Fails if it is not the primary; see leadershipOf(). */
  #leadership(address: Address, seenTerm: bigint): Leadership {
    const leadership = leadershipOf(this.#group(address), seenTerm);
    const replication = this.#open.get(address.recordKey)?.replication;
    if (replication?.deposed) throw notPrimaryError();
    if (leadership.keepsTombstones && this.#context.closing.aborted) throw closingError();
    return leadership;
  }

  #run<T>(address: Address, operation: PartitionOperation<T>): Promise<T> {
    return this.#openPartition(address).partition.run(operation);
  }

  /**
   * Applies a primary's request; returns false if its term is older. `copy` is the id of the copy that is meant, if the
   * primary was elected.
   */
  async backUp(request: BackupRequest, copy: string | null): Promise<boolean> {
    const address = addressOf(request.header);
    const election = this.#elections.get(address.group);
    if (election) return this.#backUpElected(election, address, request, copy);
    refuseControl(request.entries, this.#context.limits.keyBytes);
    const own = ownTerm(this.#group(address));
    const applied = await this.#run(address, backupOperation(request, own));
    if (applied && own !== undefined && request.entries.length > 0)
      this.#openPartition(address).replication?.depose();
    return applied;
  }

  async #backUpElected(
    election: Election,
    address: Address,
    { entries }: BackupRequest,
    copy: string | null,
  ): Promise<boolean> {
    if (copy !== (await this.#copyId())) throw otherCopyError(copy);
    const control = controlIn(entries);
    this.#refuseFormerStream(address, control);
    if (election.stepDownFor(address.recordKey, control.term)) return false;
    const { keys } = this.#context.engine;
    const partition: Pick<Partition, "run"> = { run: (operation) => this.#run(address, operation) };
    if (!(await backUpElected({ keys, partition, address, control, entries: entries.slice(1) })))
      return false;
    if (control.replicated !== undefined) election.announce(address.recordKey, control.replicated);
    return true;
  }

  /**
   * Refuses a request that arrives after one of a later stream. A comparison in that stream may have removed its keys,
   * and the primary may have no tombstones of them any more.
   */
  #refuseFormerStream({ recordKey }: Address, { term, stream }: Control): void {
    const last = this.#streams.get(recordKey);
    if (last && last.term === term && last.stream > stream) {
      throw unavailable("the primary has opened a later stream to this backup");
    }
    if (!last || last.term <= term) this.#streams.set(recordKey, { term, stream });
  }

  #openPartition(address: Address): OpenPartition {
    const present = this.#open.get(address.recordKey);
    if (present) return present;
    const partition = new Partition(
      address,
      this.#context,
      (changes, timestamp) => this.#replicate(address, changes, timestamp),
      () => {
        if (!open.replication) this.#open.delete(address.recordKey);
      },
    );
    const open: OpenPartition = { partition, replication: undefined };
    this.#open.set(address.recordKey, open);
    return open;
  }

  #replicate(address: Address, changes: Entry[], timestamp: bigint): Promise<void> | undefined {
    const election = this.#elections.get(address.group);
    if (election) return election.primary(address.recordKey)?.publish(changes, timestamp);
    const last = changes.at(-1);
    return last && this.#replication(address, timestampOf(last))?.publish(changes);
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

  #dial(url: string, { group }: Pick<Address, "group">): Transport {
    const id = `${url} ${group}`;
    let transport = this.#transports.get(id);
    if (!transport) {
      transport = withCredential(this.#context.platform.dial(url, "grpc"), this.#tokens.get(group));
      this.#transports.set(id, transport);
    }
    return transport;
  }

  /** Hands over what this server leads, then closes the connections to backups. Idempotent. */
  #close(): Promise<void> {
    this.#closed ??= this.#closeOnce();
    return this.#closed;
  }

  async #closeOnce(): Promise<void> {
    await Promise.all([...this.#elections.values()].map((election) => election.close()));
    for (const transport of this.#transports.values()) void transport[asyncDispose]?.();
    this.#transports.clear();
  }
}
