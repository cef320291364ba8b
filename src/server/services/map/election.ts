import type { ConnectError, Transport } from "@connectrpc/connect";
import type { Environment } from "../../../gossip/environment.js";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { abortable } from "../../../rpc/abortable.js";
import type { Config } from "../../config/config.js";
import type { Logger } from "../../context.js";
import type { Commit, KeyStore, Write } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { type Address, addressAt, addressFacts } from "./address.js";
import { Membership, type SeenSession, type Versioned } from "./election/membership.js";
import { candidatesFor, chooseBackups, countLed, handOverOf } from "./election/placement.js";
import {
  encodePartition,
  encodeSession,
  type PartitionRecord,
  partitionKey,
  sessionKey,
} from "./election/records.js";
import { Session } from "./election/session.js";
import { closingError, leaseEndedError, noPrimaryError, notPrimaryError } from "./group.js";
import { InSyncSet } from "./in-sync-set.js";
import type { Partition } from "./partition.js";
import { Primary } from "./primary.js";

type GroupSettings = Config["maps"][string];

/** What an election needs of the server's own copies. */
export interface OwnCopies {
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
}

/** How often the view is checked within a lease. */
const CHECKS_PER_LEASE = 4;

/** How much later each further candidate tries to take over, as a share of the lease. */
const RANK_SHARE = 1 / 8;

/** How long a close waits for the electing engine. */
const CLOSE_MS = 2000;

const OPEN_BACKOFF: Backoff = { minMs: 50, maxMs: 2000 };

/** This server's part in the elections of one group: its session, and the partitions of which it is the primary. */
export class Election {
  readonly #options: ElectionOptions;
  readonly #membership: Membership;
  readonly #ended = new AbortController();
  readonly #primaries = new Map<string, Primary>();
  readonly #promoting = new Map<string, Promise<void>>();
  readonly #creating = new Map<string, Promise<void>>();
  readonly #contending = new Set<string>();
  /** What former primaries have announced: the timestamps up to which every copy that is in sync has everything. */
  readonly #announced = new Map<string, bigint>();
  #copy = "";
  #session: Session | undefined;
  #members = "";
  #isClosing = false;
  #onJoined = () => {};
  readonly #joined = new Promise<void>((resolve) => {
    this.#onJoined = resolve;
  });
  #handingOver: Promise<unknown> | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
    const { keys, group, environment, log, draining } = options;
    this.#membership = new Membership({
      keys,
      group,
      environment,
      log,
      signal: this.#ended.signal,
      onSession: () => this.#onMembers(),
      onPartition: (recordKey) => this.#evaluate(recordKey),
    });
    void this.#membership.run();
    void this.#join();
    this.#scheduleCheck();
    draining.addEventListener("abort", () => this.#drain(), { once: true });
  }

  /** This server as the primary of the partition, if it is that. */
  primary(recordKey: string): Primary | undefined {
    return this.#primaries.get(recordKey);
  }

  /** The partitions of which this server is the primary. */
  get primaries(): Iterable<Primary> {
    return this.#primaries.values();
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
      else if (known.record.leader !== this.#session?.id) throw this.#whereError(known.record);
      else if (!this.#session.isValid()) throw leaseEndedError();
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
    void this.#grant(recordKey, known, { ...known.record, term: known.record.term + 1n });
  }

  /** Hands over what this server leads, and ends its session. */
  async close(): Promise<void> {
    const { environment } = this.#options;
    let stopTimer = () => {};
    const timeout = new Promise<void>((resolve) => {
      stopTimer = environment.after(CLOSE_MS, resolve);
    });
    await Promise.race([this.#handOverAll(), timeout]);
    this.#isClosing = true;
    for (const recordKey of [...this.#primaries.keys()]) this.#demote(recordKey, closingError());
    const ended = this.#session?.end().catch(() => {});
    await Promise.race([ended, timeout]);
    stopTimer();
    this.#session?.stop();
    this.#ended.abort();
  }

  /** Opens a session, and joins the group when all of it is known. */
  async #join(): Promise<void> {
    const { copies, log, group, environment } = this.#options;
    for (let failures = 1; !this.#isClosing; failures++) {
      try {
        this.#copy = await copies.id();
        await this.#openSession();
        return;
      } catch (error) {
        if (failures === 1) log.warn({ group, err: error }, "the group of maps cannot be joined");
        const waitMs = jitteredMs(OPEN_BACKOFF, failures, environment.random);
        await new Promise<void>((resolve) => {
          environment.after(waitMs, resolve);
        });
      }
    }
  }

  async #openSession(): Promise<void> {
    const { keys, group, environment, election, draining } = this.#options;
    const { url, leaseMs } = election;
    const session = new Session({
      keys,
      group,
      url,
      copy: this.#copy,
      leaseMs,
      state: draining.aborted ? "draining" : "live",
      environment,
      onWritten: (entry) => this.#membership.note(entry),
      onEnded: () => this.#onSessionEnded(session),
      onLapsed: () => {
        for (const primary of this.#primaries.values()) primary.interrupt();
      },
    });
    await session.open();
    this.#session = session;
    this.#onMembers();
  }

  #onSessionEnded(session: Session): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#options.log.warn({ group: this.#options.group }, "another server has ended this server's lease");
    for (const recordKey of [...this.#primaries.keys()]) this.#demote(recordKey, notPrimaryError());
    void this.#join();
  }

  async #whenJoined(): Promise<void> {
    if (this.#session && this.#membership.isComplete) return;
    const { environment, election } = this.#options;
    let stopTimer = () => {};
    const timeout = new Promise<void>((resolve) => {
      stopTimer = environment.after(election.leaseMs, resolve);
    });
    await Promise.race([this.#joined, timeout]);
    stopTimer();
    if (this.#session && this.#membership.isComplete) return;
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
    const session = this.#session;
    if (!session) throw noPrimaryError("this server has lost its lease");
    if (this.#membership.partitions.size >= mostPartitions) {
      throw exhausted("mapPartitions", mostPartitions, "no further partition of a map can be created");
    }
    const { url, leaseMs } = election;
    const record = { term: 1n, leader: session.id, url, leaseMs, inSync: [this.#copy] };
    await this.#commitRecord(recordKey, 0n, record);
  }

  /** Sets the record on the condition of its version, and notes the outcome. Rejects if the engine is away. */
  async #commitRecord(
    recordKey: string,
    version: bigint,
    record: PartitionRecord,
    also: Write[] = [],
  ): Promise<Commit> {
    const { keys } = this.#options;
    const key = partitionKey(addressAt(recordKey));
    const value = encodePartition(record);
    const writes: Write[] = [{ type: "set", key, value, ifVersion: version }, ...also];
    const commit = await keys.commit(writes);
    if ("version" in commit) {
      for (const write of writes) {
        if (write.type !== "set") continue;
        this.#membership.note({ key: write.key, value: write.value, version: commit.version });
      }
    } else if (commit.actual) this.#membership.note(commit.actual);
    else this.#membership.noteMissing(commit.conflict.key);
    return commit;
  }

  /** Grants the partition to this server. A failure is only logged: the next check tries again. */
  async #grant(
    recordKey: string,
    known: Versioned<PartitionRecord>,
    record: PartitionRecord,
    also: Write[] = [],
  ): Promise<boolean> {
    try {
      return "version" in (await this.#commitRecord(recordKey, known.version, record, also));
    } catch (error) {
      const { log, group } = this.#options;
      log.debug({ group, err: error }, "the electing engine is away");
      return false;
    }
  }

  /** Compares what this server does in the partition with what the record says. */
  #evaluate(recordKey: string): void {
    const known = this.#membership.partition(recordKey);
    const session = this.#session;
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
      this.#contend(recordKey, known);
    }
  }

  /** Tries to take over, after the candidates that lead fewer partitions. */
  #contend(recordKey: string, known: Versioned<PartitionRecord>): void {
    const { environment, election } = this.#options;
    if (this.#contending.has(recordKey)) return;
    const { partitions, live } = this.#membership;
    const candidates = candidatesFor(known.record, live, countLed(partitions));
    const rank = candidates.findIndex(({ id }) => id === this.#session?.id);
    if (rank < 0 && (candidates.length > 0 || !election.uncleanElection)) return;
    this.#contending.add(recordKey);
    const waitMs = rank < 0 ? 2 * election.leaseMs : rank * RANK_SHARE * election.leaseMs;
    const takeOver = async () => {
      const isCurrent =
        this.#membership.partition(recordKey) === known && this.#membership.isOver(known.record);
      if (isCurrent && !this.#isClosing) await this.#takeOver(recordKey, known);
      this.#contending.delete(recordKey);
      this.#evaluateSoon(recordKey);
    };
    if (waitMs === 0) void takeOver();
    else environment.after(waitMs, () => void takeOver());
  }

  /** Checks again later what has failed, so that it is not tried in a busy loop. */
  #evaluateSoon(recordKey: string): void {
    const { environment, election } = this.#options;
    const known = this.#membership.partition(recordKey);
    if (!known || known.record.leader === this.#session?.id) return;
    environment.after(RANK_SHARE * election.leaseMs, () => this.#evaluate(recordKey));
  }

  async #takeOver(recordKey: string, known: Versioned<PartitionRecord>): Promise<void> {
    const { group, election, log } = this.#options;
    const { url, leaseMs } = election;
    const session = this.#session;
    if (!session?.isValid()) return;
    const { record } = known;
    const live = new Set(this.#membership.live.map(({ record: { copy } }) => copy));
    const isClean = record.inSync.includes(this.#copy);
    if (!isClean && record.inSync.some((copy) => live.has(copy))) return;
    const inSync = [...record.inSync.filter((copy) => copy !== this.#copy && live.has(copy)), this.#copy];
    const next = { term: record.term + 1n, leader: session.id, url, leaseMs, inSync };
    const former = this.#membership.session(record.leader);
    const isGranted = await this.#grant(recordKey, known, next, former ? endOf(group, former) : []);
    if (!isGranted || isClean) return;
    log.error(
      { ...addressFacts(addressAt(recordKey)), term: next.term },
      "a copy that was not in sync is the primary now: acknowledged writes may be lost",
    );
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
    const { copies, keys, dial, ackTimeoutMs, environment, log } = this.#options;
    const address = addressAt(recordKey);
    const { record } = granted;
    const seen = await copies.raise(address, record.term);
    if (this.#membership.partition(recordKey) !== granted || this.#primaries.has(recordKey)) return;
    const session = this.#session;
    if (session?.id !== record.leader) return;
    if (seen.term > record.term) {
      // The electing engine has lost an earlier record of the partition.
      await this.#commitRecord(recordKey, granted.version, { ...record, term: seen.term + 1n });
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
      copy: this.#copy,
      inSync,
      keys: copies.keys,
      partition: copies.run(address),
      dial,
      ackTimeoutMs,
      environment,
      log,
      published: seen.timestamp,
      replicated: this.#announced.get(recordKey) ?? -1n,
      isLeaseValid: () => session.isValid(),
      onRefused: () => this.#onRefused(recordKey, primary),
    });
    this.#primaries.set(recordKey, primary);
    log.info(
      { ...addressFacts(address), term: record.term, inSync: record.inSync.length },
      "this server is the primary",
    );
    this.#placeBackups([primary]);
  }

  /** A backup has seen a later term. If no other server leads, the electing engine has lost a record: goes on above. */
  #onRefused(recordKey: string, primary: Primary): void {
    if (this.#primaries.get(recordKey) === primary) this.restart(recordKey);
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
    if (this.#isClosing || !this.#session || !this.#membership.isComplete) return;
    const { live } = this.#membership;
    const members = live.map(({ id, record }) => `${id} ${record.state}`).join();
    if (members === this.#members) return;
    this.#members = members;
    this.#onJoined();
    void this.#endFormerSessions(live);
    this.#placeBackups(this.#primaries.values());
    for (const recordKey of this.#membership.partitions.keys()) this.#evaluate(recordKey);
    void this.#adopt();
  }

  /** Ends the sessions of earlier processes on the same copy: an engine is open in one process at a time. */
  async #endFormerSessions(live: readonly SeenSession[]): Promise<void> {
    const { keys, group } = this.#options;
    for (const session of live) {
      if (session.record.copy !== this.#copy || session.id === this.#session?.id) continue;
      const [write] = endOf(group, session);
      const commit = write && (await keys.commit([write]).catch(() => undefined));
      if (commit && "version" in commit) {
        this.#membership.note({ key: write.key, value: write.value, version: commit.version });
      }
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

  #placeBackups(primaries: Iterable<Primary>): void {
    const session = this.#session && this.#membership.session(this.#session.id);
    if (!session) return;
    const { live, partitions } = this.#membership;
    const led = countLed(partitions);
    const count = this.#options.election.replicas - 1;
    for (const primary of primaries) {
      const chosen = chooseBackups(live, { leader: session, count, current: primary.copies, led });
      primary.setBackups(chosen.map(({ record: { copy, url } }) => ({ copy, url })));
    }
  }

  #scheduleCheck(): void {
    const { environment, election } = this.#options;
    environment.after(election.leaseMs / CHECKS_PER_LEASE, () => {
      if (this.#isClosing) return;
      for (const recordKey of this.#membership.partitions.keys()) this.#evaluate(recordKey);
      void this.#balance().finally(() => this.#scheduleCheck());
    });
  }

  /** Hands one partition over if another server leads fewer. */
  async #balance(): Promise<void> {
    const session = this.#session && this.#membership.session(this.#session.id);
    if (session?.record.state !== "live") return;
    const { partitions, live } = this.#membership;
    const move = handOverOf(partitions, live, session);
    if (!move) return;
    const { ackTimeoutMs } = this.#options;
    await this.#primaries.get(move.recordKey)?.handOver(move.target, ackTimeoutMs);
  }

  #drain(): void {
    void this.#session?.drain().catch(() => {});
    void this.#handOverAll();
  }

  /** Hands over every partition for which another server is in sync. */
  #handOverAll(): Promise<unknown> {
    this.#handingOver ??= Promise.all([...this.#primaries.keys()].map((key) => this.#handOver(key))).finally(
      () => {
        this.#handingOver = undefined;
      },
    );
    return this.#handingOver;
  }

  async #handOver(recordKey: string): Promise<void> {
    const primary = this.#primaries.get(recordKey);
    const { partitions, live } = this.#membership;
    const others = live.filter(({ id, record }) => id !== this.#session?.id && record.state === "live");
    if (!primary) return;
    const [target] = candidatesFor(primary.inSync.present.record, others, countLed(partitions));
    if (target) await primary.handOver(target, this.#options.ackTimeoutMs);
  }
}

/** The write that ends a session, on the condition that its holder has not renewed it; none if it has ended. */
function endOf(group: string, { id, record, version }: SeenSession): (Write & { type: "set" })[] {
  if (record.state === "ended") return [];
  const value = encodeSession({ ...record, state: "ended" });
  return [{ type: "set", key: sessionKey(group, id), value, ifVersion: version, ttlMs: ENDED_TTL_MS }];
}

/** How long it is stored that a session has ended. */
const ENDED_TTL_MS = 3_600_000;
