import type { ConnectError, Transport } from "@connectrpc/connect";
import type { Environment } from "../../../gossip/environment.js";
import { abortable } from "../../../rpc/abortable.js";
import type { Config } from "../../config/config.js";
import type { Logger, ServiceContext } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { type Address, addressAt, addressFacts } from "./address.js";
import { Candidacy } from "./election/candidacy.js";
import { Grants } from "./election/grants.js";
import { HandOvers } from "./election/hand-overs.js";
import { Membership, type SeenSession, type Versioned } from "./election/membership.js";
import { type PartitionRecord, partitionKey } from "./election/records.js";
import { SessionKeeper } from "./election/session-keeper.js";
import { closingError, leaseEndedError, noPrimaryError, notPrimaryError } from "./group.js";
import { InSyncSet } from "./in-sync-set.js";
import type { Partition } from "./partition.js";
import { Primary } from "./primary.js";

type GroupSettings = Config["maps"][string];

/** What an election needs of the server's own copies. */
interface OwnCopies {
  /** The server's own engine. */
  readonly keys: KeyStore;
  /** The id of the server's copies, which its engine keeps. */
  id(): Promise<string>;
  /** Raises the term of the copy at `address`, so that it refuses older ones. Resolves with what it has seen. */
  raise(address: Address, term: bigint): Promise<{ term: bigint; timestamp: bigint }>;
  /** The partitions of the group of which the engine has a copy. */
  list(): AsyncIterable<Address>;
  /** Runs operations on the copy at `address`. */
  run(address: Address): Pick<Partition, "run">;
}

export interface ElectionOptions {
  group: string;
  election: NonNullable<GroupSettings["election"]>;
  ackTimeoutMs: number;
  mostPartitions: number;
  /** The electing engine's keys. */
  keys: KeyStore;
  copies: OwnCopies;
  dial: (url: string) => Transport;
  environment: Environment;
  draining: AbortSignal;
  log: Logger;
  /** Adds to a counter of `/metrics`. */
  count: ServiceContext["count"];
}

/** How often the view is checked within a lease. */
const CHECKS_PER_LEASE = 4;

/** How long a close waits for the electing engine. */
const CLOSE_MS = 2000;

/** This server's part in the elections of one group: its session, and the partitions of which it is the primary. */
export class Election {
  readonly #options: ElectionOptions;
  readonly #membership: Membership;
  readonly #ended = new AbortController();
  readonly #primaries = new Map<string, Primary>();
  readonly #promoting = new Map<string, Promise<void>>();
  readonly #creating = new Map<string, Promise<void>>();
  readonly #grants: Grants;
  readonly #candidacy: Candidacy;
  readonly #handOvers: HandOvers;
  /** What former primaries have announced: the timestamps up to which every copy that is in sync has everything. */
  readonly #announced = new Map<string, bigint>();
  readonly #sessions: SessionKeeper;
  #members = "";
  #isClosing = false;
  #onJoined = () => {};
  readonly #joined = new Promise<void>((resolve) => {
    this.#onJoined = resolve;
  });

  constructor(options: ElectionOptions) {
    this.#options = options;
    const { keys, group, environment, log, draining, election, ackTimeoutMs } = options;
    const membership = new Membership({
      keys,
      group,
      environment,
      log,
      signal: this.#ended.signal,
      onSession: () => this.#onMembers(),
      onPartition: (recordKey) => this.#evaluate(recordKey),
    });
    this.#membership = membership;
    this.#sessions = new SessionKeeper({
      ...election,
      keys,
      group,
      copyId: options.copies.id,
      draining,
      environment,
      log,
      onWritten: (entry) => membership.note(entry),
      onOpened: () => this.#onMembers(),
      onEnded: () => this.#demoteAll(notPrimaryError()),
      onLapsed: () => {
        for (const primary of this.#primaries.values()) primary.interrupt();
      },
    });
    this.#grants = new Grants({ keys, group, membership, log });
    this.#candidacy = new Candidacy({
      ...election,
      membership,
      grants: this.#grants,
      environment,
      log,
      session: () => (this.#isClosing ? undefined : this.#sessions.current),
      copy: () => this.#sessions.copy,
      evaluate: (recordKey) => this.#evaluate(recordKey),
    });
    this.#handOvers = new HandOvers({
      membership,
      primaries: this.#primaries,
      sessionId: () => this.#sessions.current?.id,
      replicas: election.replicas,
      withinMs: ackTimeoutMs,
    });
    void this.#membership.run();
    void this.#sessions.open();
    this.#scheduleCheck();
    draining.addEventListener("abort", () => this.#drain(), { once: true });
  }

  /** This server as the primary of the partition, if it is that. */
  primary(recordKey: string): Primary | undefined {
    return this.#primaries.get(recordKey);
  }

  /** This server as the primary of the partition. Fails if it is not; a partition without a record becomes its own. */
  async lead(address: Address, signal: AbortSignal): Promise<Primary> {
    await abortable(this.#whenJoined(), signal);
    const { recordKey } = address;
    for (;;) {
      if (this.#isClosing) throw closingError();
      const primary = this.#primaries.get(recordKey);
      if (primary) return primary;
      const known = this.#membership.partition(recordKey);
      if (!known) await abortable(this.#create(address), signal);
      else if (known.record.leader !== this.#sessions.current?.id) throw this.#whereError(known.record);
      else if (!this.#sessions.current.isValid()) throw leaseEndedError();
      else await abortable(this.#promote(recordKey, known), signal);
    }
  }

  /** Steps down if `term` is later than that of this server as the primary. Returns whether it is the primary still. */
  stepDownFor(recordKey: string, term: bigint): boolean {
    const primary = this.#primaries.get(recordKey);
    if (!primary) return false;
    if (primary.term >= term) return true;
    this.#demote(recordKey, notPrimaryError());
    return false;
  }

  /** Notes that every copy that is in sync has everything up to `timestamp`. */
  announce(recordKey: string, timestamp: bigint): void {
    if (timestamp > (this.#announced.get(recordKey) ?? -1n)) this.#announced.set(recordKey, timestamp);
  }

  /**
   * Begins a new term of this server as the primary: a write to its copy has failed, and may have taken effect without
   * being replicated.
   */
  restart(recordKey: string): void {
    const primary = this.#primaries.get(recordKey);
    const known = this.#membership.partition(recordKey);
    if (!primary || !known) return;
    this.#demote(recordKey, noPrimaryError("its copy of the partition begins a new term"));
    void this.#grants.tryCommit(recordKey, known, { ...known.record, term: known.record.term + 1n });
  }

  /** Hands over what this server leads, and ends its session. */
  async close(): Promise<void> {
    const { environment } = this.#options;
    let stopTimer = () => {};
    const timeout = new Promise<void>((resolve) => {
      stopTimer = environment.after(CLOSE_MS, resolve);
    });
    await Promise.race([this.#handOvers.all(), timeout]);
    this.#isClosing = true;
    this.#demoteAll(closingError());
    await Promise.race([this.#sessions.close(), timeout]);
    stopTimer();
    this.#ended.abort();
  }

  async #whenJoined(): Promise<void> {
    if (this.#sessions.current && this.#membership.isComplete) return;
    const { environment, election } = this.#options;
    let stopTimer = () => {};
    const timeout = new Promise<void>((resolve) => {
      stopTimer = environment.after(election.leaseMs, resolve);
    });
    await Promise.race([this.#joined, timeout]);
    stopTimer();
    if (this.#sessions.current && this.#membership.isComplete) return;
    throw noPrimaryError("this server has not joined its group yet, as it cannot reach the electing engine");
  }

  #whereError(record: PartitionRecord): ConnectError {
    if (!this.#membership.isOver(record)) return notPrimaryError(record.url);
    const isInSync = ({ record: { copy } }: SeenSession) => record.inSync.includes(copy);
    if (this.#membership.live.some(isInSync)) return noPrimaryError("another server is about to take over");
    return noPrimaryError("none of the servers that have all its writes is alive");
  }

  /** Creates the partition's record with this server as its leader. */
  #create(address: Address): Promise<void> {
    const { recordKey } = address;
    const creating = this.#creating.get(recordKey);
    if (creating) return creating;
    const created = this.#createOnce(address).finally(() => this.#creating.delete(recordKey));
    this.#creating.set(recordKey, created);
    return created;
  }

  async #createOnce({ recordKey }: Address): Promise<void> {
    const { mostPartitions, election } = this.#options;
    const session = this.#sessions.current;
    if (!session) throw noPrimaryError("this server has lost its lease");
    if (this.#membership.partitions.size >= mostPartitions) {
      throw exhausted("mapPartitions", mostPartitions, "no further partition of a map can be created");
    }
    const { url, leaseMs } = election;
    const record = { term: 1n, leader: session.id, url, leaseMs, inSync: [this.#sessions.copy] };
    await this.#grants.commit(recordKey, 0n, record);
  }

  /** Compares what this server does in the partition with what the record says. */
  #evaluate(recordKey: string): void {
    const known = this.#membership.partition(recordKey);
    const session = this.#sessions.current;
    if (!known) return;
    const { record } = known;
    const isLeader = session !== undefined && record.leader === session.id;
    const primary = this.#primaries.get(recordKey);
    if (primary && (!isLeader || record.term > primary.term)) {
      this.#demote(recordKey, notPrimaryError(isLeader ? undefined : record.url));
    }
    if (this.#isClosing || !session || !this.#membership.isComplete) return;
    if (isLeader) {
      if (!this.#primaries.has(recordKey)) void this.#promote(recordKey, known).catch(() => {});
    } else if (this.#membership.isOver(record)) {
      this.#candidacy.contend(recordKey, known);
    }
  }

  #promote(recordKey: string, known: Versioned<PartitionRecord>): Promise<void> {
    const promoting = this.#promoting.get(recordKey);
    if (promoting) return promoting;
    const promoted = this.#promoteOnce(recordKey, known).finally(() => this.#promoting.delete(recordKey));
    this.#promoting.set(recordKey, promoted);
    return promoted;
  }

  /** Makes this server the primary that the record says it is. */
  async #promoteOnce(recordKey: string, granted: Versioned<PartitionRecord>): Promise<void> {
    const { copies, keys, dial, ackTimeoutMs, environment, log, count } = this.#options;
    const address = addressAt(recordKey);
    const { record } = granted;
    const seen = await copies.raise(address, record.term);
    if (this.#membership.partition(recordKey) !== granted || this.#primaries.has(recordKey)) return;
    const session = this.#sessions.current;
    if (session?.id !== record.leader) return;
    if (seen.term > record.term) {
      // The electing engine has lost an earlier record of the partition.
      await this.#grants.commit(recordKey, granted.version, { ...record, term: seen.term + 1n });
      return;
    }
    const inSync = new InSyncSet({
      keys,
      key: partitionKey(address),
      granted,
      environment,
      onWritten: (entry) => this.#membership.note(entry),
    });
    const primary = new Primary({
      address,
      copy: this.#sessions.copy,
      inSync,
      keys: copies.keys,
      partition: copies.run(address),
      dial,
      ackTimeoutMs,
      environment,
      log,
      onBackupLost: () => count("fairlead_map_backups_lost_total", 1),
      published: seen.timestamp,
      replicated: this.#announced.get(recordKey) ?? -1n,
      isLeaseValid: () => session.isValid(),
      onRefused: () => this.#onRefused(recordKey, primary),
    });
    this.#primaries.set(recordKey, primary);
    count("fairlead_map_terms_total", 1);
    log.info(
      { ...addressFacts(address), term: record.term, inSync: record.inSync.length },
      "this server is the primary",
    );
    this.#handOvers.placeBackups([primary]);
  }

  /** A backup has seen a later term. If no other server leads, the electing engine has lost a record: goes on above. */
  #onRefused(recordKey: string, primary: Primary): void {
    if (this.#primaries.get(recordKey) === primary) this.restart(recordKey);
  }

  #demoteAll(reason: ConnectError): void {
    for (const recordKey of [...this.#primaries.keys()]) this.#demote(recordKey, reason);
  }

  #demote(recordKey: string, reason: ConnectError): void {
    const primary = this.#primaries.get(recordKey);
    if (!primary) return;
    this.#primaries.delete(recordKey);
    primary.end(reason);
    const { log } = this.#options;
    log.info(
      { ...addressFacts(primary.address), term: primary.term },
      "this server is not the primary any more",
    );
  }

  /** Called when the view of a session has changed: mostly it was only renewed. */
  #onMembers(): void {
    if (this.#isClosing || !this.#sessions.current || !this.#membership.isComplete) return;
    const { live } = this.#membership;
    const members = live.map(({ id, record }) => `${id} ${record.state}`).join();
    if (members === this.#members) return;
    this.#members = members;
    this.#onJoined();
    void this.#endFormerSessions(live);
    this.#handOvers.placeBackups(this.#primaries.values());
    for (const recordKey of this.#membership.partitions.keys()) this.#evaluate(recordKey);
    void this.#adopt();
  }

  /** Ends the sessions of earlier processes on the same copy: an engine is open in one process at a time. */
  async #endFormerSessions(live: readonly SeenSession[]): Promise<void> {
    for (const session of live) {
      if (session.record.copy !== this.#sessions.copy || session.id === this.#sessions.current?.id) continue;
      await this.#grants.endSession(session);
    }
  }

  /** Creates the records of partitions that this server had before there were elections. */
  async #adopt(): Promise<void> {
    const { copies, group, log } = this.#options;
    try {
      for await (const address of copies.list()) {
        if (address.group === group && !this.#membership.partition(address.recordKey)) {
          await this.#create(address);
        }
      }
    } catch (error) {
      log.debug({ group, err: error }, "the partitions of this server cannot be registered now");
    }
  }

  #scheduleCheck(): void {
    const { environment, election } = this.#options;
    environment.after(election.leaseMs / CHECKS_PER_LEASE, () => {
      if (this.#isClosing) return;
      for (const recordKey of this.#membership.partitions.keys()) this.#evaluate(recordKey);
      void this.#handOvers.balance().finally(() => this.#scheduleCheck());
    });
  }

  #drain(): void {
    void this.#sessions.current?.drain().catch(() => {});
    void this.#handOvers.all();
  }
}
