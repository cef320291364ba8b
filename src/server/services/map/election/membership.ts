import type { Environment } from "../../../../gossip/environment.js";
import { type Backoff, jitteredMs } from "../../../../lib/backoff.js";
import type { Logger } from "../../../context.js";
import type { Entry, KeyStore } from "../../../engine.js";
import {
  decodePartition,
  decodeSession,
  electionSubject,
  groupPrefix,
  type PartitionRecord,
  type SessionRecord,
} from "./records.js";

/** A record of the electing engine, and its version for conditional commits. */
export interface Versioned<T> {
  readonly record: T;
  readonly version: bigint;
}

/** A session as this server sees it. `sinceMs`: when it saw this version first, by the monotonic clock. */
export type SeenSession = Versioned<SessionRecord> & { readonly id: string; readonly sinceMs: number };

export interface MembershipOptions {
  /** The electing engine's keys. */
  keys: KeyStore;
  group: string;
  environment: Environment;
  /** Ends the watch. */
  signal: AbortSignal;
  log: Logger;
  /** Called when the view of a session has changed, and when its lease has passed. */
  onSession: (id: string) => void;
  /** Called when the view of a partition has changed. */
  onPartition: (recordKey: string) => void;
}

const WATCH_BACKOFF: Backoff = { minMs: 50, maxMs: 2000 };

/** Sessions of servers that have gone are forgotten after so many leases. */
const FORGET_LEASES = 20;

/** This server's view of the group: its sessions and the records of its partitions, which it watches. */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #sessions = new Map<string, SeenSession>();
  readonly #partitions = new Map<string, Versioned<PartitionRecord>>();
  readonly #leaseTimers = new Map<string, () => void>();
  /** Whether the whole group has been read once. */
  isComplete = false;

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** Watches the group until the signal aborts. */
  async run(): Promise<void> {
    const { signal, environment, log, group } = this.#options;
    signal.addEventListener("abort", () => this.#stopTimers(), { once: true });
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await this.#follow(() => {
          failures = 1;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (failures === 1)
          log.warn({ group, err: error }, "the members of a group of maps cannot be watched");
      }
      const waitMs = jitteredMs(WATCH_BACKOFF, failures, environment.random);
      await new Promise<void>((resolve) => {
        environment.after(waitMs, resolve);
      });
    }
  }

  partition(recordKey: string): Versioned<PartitionRecord> | undefined {
    return this.#partitions.get(recordKey);
  }

  get partitions(): ReadonlyMap<string, Versioned<PartitionRecord>> {
    return this.#partitions;
  }

  session(id: string): SeenSession | undefined {
    return this.#sessions.get(id);
  }

  /** The sessions that are not over. */
  get live(): SeenSession[] {
    const isMember = (session: SeenSession) => session.version > 0n && !this.#isOver(session);
    return [...this.#sessions.values()].filter(isMember);
  }

  /**
   * Whether other servers may take over what `leader` leads. A session whose key is missing is over after its lease, as
   * one that is not renewed.
   */
  isOver({ leader, leaseMs, url }: PartitionRecord): boolean {
    const session = this.#sessions.get(leader);
    if (session) return this.#isOver(session);
    const record: SessionRecord = { url, copy: "", leaseMs, state: "live" };
    if (this.isComplete) this.#see(leader, { record, version: 0n });
    return false;
  }

  /** Applies a commit of this server, so that its effect is seen at once. */
  note({ key, value, version }: Entry): void {
    const subject = electionSubject(this.#options.group, key);
    if (subject?.type === "session") this.#see(subject.id, { record: decodeSession(value), version });
    if (subject?.type === "partition") this.#setPartition(subject.id, value, version);
  }

  /** Notes that the engine has no entry at `key`. */
  noteMissing(key: string): void {
    const subject = electionSubject(this.#options.group, key);
    if (subject?.type === "partition") this.#partitions.delete(subject.id);
    const known = subject && this.#sessions.get(subject.id);
    if (!subject || !known || known.version === 0n || known.record.state === "ended") return;
    this.#sessions.delete(subject.id);
    this.#see(subject.id, { record: known.record, version: 0n });
  }

  #isOver({ record, sinceMs }: SeenSession): boolean {
    if (record.state === "ended") return true;
    return this.#options.environment.monotonicMs() - sinceMs >= record.leaseMs;
  }

  /** Reads the whole group and follows its changes, until the watch ends or fails. */
  async #follow(onRead: () => void): Promise<void> {
    const { keys, group, signal } = this.#options;
    const prefix = groupPrefix(group);
    const watch = new AbortController();
    const changes = keys.watch(prefix, AbortSignal.any([signal, watch.signal]));
    try {
      for await (const entry of keys.list(prefix)) this.note(entry);
      this.isComplete = true;
      onRead();
      for (const id of this.#sessions.keys()) this.#options.onSession(id);
      for await (const change of changes) {
        // Records are never deleted, and the end of a session's key says nothing about its lease.
        if (change.type === "set") this.note(change.entry);
      }
    } finally {
      watch.abort();
    }
  }

  #setPartition(recordKey: string, value: Uint8Array, version: bigint): void {
    const known = this.#partitions.get(recordKey);
    if (known && known.version >= version) return;
    this.#partitions.set(recordKey, { record: decodePartition(value), version });
    this.#options.onPartition(recordKey);
  }

  #see(id: string, { record, version }: Versioned<SessionRecord>): void {
    const known = this.#sessions.get(id);
    // A session that was seen to be missing has version 0n, so that any version replaces it.
    if (known && known.version >= version) return;
    const { environment, onSession } = this.#options;
    const seen = { id, record, version, sinceMs: environment.monotonicMs() };
    this.#sessions.set(id, seen);
    this.#leaseTimers.get(id)?.();
    this.#leaseTimers.set(
      id,
      environment.after(record.leaseMs + 1, () => this.#onLeasePassed(id)),
    );
    onSession(id);
  }

  #onLeasePassed(id: string): void {
    const { environment, onSession } = this.#options;
    const session = this.#sessions.get(id);
    if (!session) return;
    const forgetMs = session.record.leaseMs * FORGET_LEASES;
    this.#leaseTimers.set(
      id,
      environment.after(forgetMs, () => {
        this.#sessions.delete(id);
        this.#leaseTimers.delete(id);
      }),
    );
    onSession(id);
  }

  #stopTimers(): void {
    for (const stop of this.#leaseTimers.values()) stop();
    this.#leaseTimers.clear();
  }
}
