import type { ConnectError, Transport } from "@connectrpc/connect";
import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import type { Environment } from "../../../gossip/environment.js";
import type { Logger } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { type Address, addressFacts } from "./address.js";
import type { SeenSession } from "./election/membership.js";
import { isEntryTombstone, lower, timestampOf } from "./entry.js";
import { BackupCopy, type CopyAddress } from "./follower.js";
import { type Leadership, leaseEndedError, notPrimaryError, unconfirmedError } from "./group.js";
import type { InSyncSet } from "./in-sync-set.js";
import type { Partition } from "./partition.js";
import { Tombstones } from "./tombstones.js";

export interface PrimaryOptions {
  address: Address;
  /** The id of this server's own copy. */
  copy: string;
  inSync: InSyncSet;
  /** The engine of this server's own copy. */
  keys: KeyStore;
  partition: Pick<Partition, "run">;
  dial: (url: string) => Transport;
  ackTimeoutMs: number;
  environment: Environment;
  log: Logger;
  /** The timestamp of the copy's latest change. */
  published: bigint;
  /** The timestamp up to which every copy that is in sync is known to have everything. */
  replicated: bigint;
  /** Whether this server's lease lasts. */
  isLeaseValid: () => boolean;
  /** Called when a backup has left the in-sync set. */
  onBackupLost: () => void;
  /** Called when a backup has seen a later term. */
  onRefused: () => void;
}

/** A call that waits until every copy that is in sync has everything up to this timestamp. */
type Wait = { timestamp: bigint; resolve: () => void; reject: (error: unknown) => void };

/** This server as the primary of one partition, in one term that an election has granted. */
export class Primary {
  readonly term: bigint;
  readonly #options: PrimaryOptions;
  readonly #followers = new Map<string, BackupCopy>();
  /** The copies that every acknowledgement waits for: those that are in sync, and those that are about to be. */
  readonly #required = new Set<string>();
  readonly #reconciling = new Set<string>();
  readonly #tombstones: Tombstones;
  #published: bigint;
  #replicated: bigint;
  #waits: Wait[] = [];
  #ended: ConnectError | undefined;
  #pause: Promise<void> | undefined;
  #callsUnderWay = 0;
  #onQuiet: (() => void) | undefined;

  constructor(options: PrimaryOptions) {
    this.#options = options;
    const { address, keys, partition, inSync, copy, published, replicated } = options;
    this.term = inSync.present.record.term;
    this.#published = published;
    this.#replicated = lower(replicated, published);
    this.#tombstones = new Tombstones(address, keys, partition);
    for (const each of inSync.present.record.inSync) if (each !== copy) this.#required.add(each);
  }

  get address(): Address {
    return this.#options.address;
  }

  get inSync(): InSyncSet {
    return this.#options.inSync;
  }

  /** The copies of the other servers that it replicates to. */
  get copies(): ReadonlySet<string> {
    return new Set(this.#followers.keys());
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** Fails if this server may not serve calls of the partition now. */
  check(): void {
    if (this.#ended) throw this.#ended;
    if (!this.#options.isLeaseValid()) throw leaseEndedError();
  }

  /** Fails if this server may not tell the outcome of a write, which may have taken effect. */
  confirm(): void {
    if (this.#ended || !this.#options.isLeaseValid()) throw unconfirmedError();
  }

  /** The leadership for a write to a copy that has seen the term `seen`. */
  leadership(seen: bigint): Leadership {
    this.check();
    const { term } = this;
    if (seen > term) throw notPrimaryError();
    return { term, floor: (term - 1n) << 32n, keepsTombstones: true };
  }

  /** Runs a call of a client, unless the lead is being handed over: then it waits for the end of that. */
  async serve<T>(call: () => Promise<T>): Promise<T> {
    while (this.#pause) await this.#pause;
    this.check();
    this.#callsUnderWay++;
    try {
      return await call();
    } finally {
      this.#callsUnderWay--;
      if (this.#callsUnderWay === 0) this.#onQuiet?.();
    }
  }

  /** Replicates `changes`, the last of which has the timestamp `through`. Resolves as settled() does. */
  publish(changes: readonly Entry[], through: bigint): Promise<void> {
    if (through > this.#published) this.#published = through;
    for (const entry of changes) {
      if (isEntryTombstone(entry)) this.#tombstones.add(entry.key, timestampOf(entry));
    }
    if (changes.length > 0) for (const follower of this.#followers.values()) follower.publish(changes);
    this.#advance();
    return this.settled(through);
  }

  /**
   * Resolves when every copy that is in sync has everything up to `timestamp`, if this server is still the primary
   * then. Default: everything up to now.
   */
  async settled(timestamp = this.#published): Promise<void> {
    if (timestamp > this.#replicated && !this.#ended) {
      await new Promise<void>((resolve, reject) => this.#waits.push({ timestamp, resolve, reject }));
    }
    this.confirm();
  }

  /** Replicates to `backups` from now on, and to no others. */
  setBackups(backups: readonly CopyAddress[]): void {
    if (this.#ended) return;
    const wanted = new Map(backups.map((backup) => [backup.copy, backup]));
    for (const [copy, follower] of this.#followers) {
      if (wanted.get(copy)?.url === follower.url) continue;
      this.#followers.delete(copy);
      follower.close();
    }
    for (const backup of wanted.values()) if (!this.#followers.has(backup.copy)) this.#follow(backup);
    for (const copy of this.#required) if (!this.#followers.has(copy)) void this.#reconcile(copy);
    this.#advance();
  }

  /** Fails the calls that wait for confirmations: the lease has ended. Whether they took effect is unknown. */
  interrupt(): void {
    for (const { reject } of this.#waits.splice(0)) reject(unconfirmedError());
  }

  /**
   * Hands the lead over: lets calls under way finish, at most for `withinMs`, while new ones wait. Returns whether
   * `target` is the leader now.
   */
  async handOver(target: SeenSession, withinMs: number): Promise<boolean> {
    if (this.#pause || this.#ended) return false;
    let resume = () => {};
    this.#pause = new Promise((resolve) => {
      resume = resolve;
    });
    try {
      if (!(await this.#quiet(withinMs)) || this.#ended) return false;
      if (!(await this.#options.inSync.handOver(target))) return false;
      this.end(notPrimaryError(target.record.url));
      return true;
    } finally {
      this.#pause = undefined;
      resume();
    }
  }

  /** Ends the term. Calls fail with `reason`. */
  end(reason: ConnectError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#options.inSync.end();
    for (const follower of this.#followers.values()) follower.close();
    this.#followers.clear();
    this.interrupt();
  }

  #follow({ copy, url }: CopyAddress): void {
    const { address, keys, dial, ackTimeoutMs, environment, inSync, onRefused } = this.#options;
    const follower: BackupCopy = new BackupCopy({
      copy,
      url,
      dial,
      address,
      term: this.term,
      keys,
      ackTimeoutMs,
      environment,
      isInSync: inSync.has(copy),
      replicated: this.#replicated,
      published: () => this.#published,
      announced: () => this.#replicated,
      onChanged: () => {
        if (this.#followers.get(copy) === follower) this.#onFollower(follower);
      },
      onRefused,
    });
    this.#followers.set(copy, follower);
  }

  #onFollower(follower: BackupCopy): void {
    const isRequired = this.#required.has(follower.copy);
    if (follower.isCaughtUp !== isRequired || isRequired !== this.inSync.has(follower.copy)) {
      void this.#reconcile(follower.copy);
    }
    this.#advance();
  }

  /** Makes the in-sync set agree with whether the copy is caught up. */
  async #reconcile(copy: string): Promise<void> {
    if (this.#reconciling.has(copy)) return;
    this.#reconciling.add(copy);
    try {
      while (!this.#ended) {
        const follower = this.#followers.get(copy);
        const isCaughtUp = follower?.isCaughtUp ?? false;
        const isMember = this.inSync.has(copy);
        if (isCaughtUp === isMember && isCaughtUp === this.#required.has(copy)) return;
        const isLeader = isCaughtUp
          ? await this.#join(copy)
          : await this.#leave(copy, follower?.reason ?? "its server has gone, or keeps no copy any more");
        if (!isLeader) return;
      }
    } finally {
      this.#reconciling.delete(copy);
    }
  }

  /** Adds the copy to the set when it has everything. Returns false if this server is not the leader any more. */
  async #join(copy: string): Promise<boolean> {
    // From here on acknowledgements wait for the copy, so that they cannot outrun it.
    this.#required.add(copy);
    const follower = this.#followers.get(copy);
    if (!follower || follower.confirmed < this.#published) await this.#nextProgress(copy, this.#published);
    if (!this.#followers.get(copy)?.isCaughtUp) return true;
    const isNew = !this.inSync.has(copy);
    if (!(await this.inSync.add(copy))) return false;
    if (isNew) this.#log("info", copy, "a backup is in sync");
    return true;
  }

  /** Removes the copy from the set. Returns false if this server is not the leader any more. */
  async #leave(copy: string, why: string): Promise<boolean> {
    const wasMember = this.inSync.has(copy);
    // Acknowledgements wait for the commit: only then the copy cannot become the primary.
    if (!(await this.inSync.remove(copy))) return false;
    this.#required.delete(copy);
    if (wasMember) {
      this.#options.onBackupLost();
      this.#log("warn", copy, "a backup is out of sync", why);
    }
    this.#advance();
    return true;
  }

  /** Resolves when the copy has everything up to `timestamp`, or is not caught up any more. */
  async #nextProgress(copy: string, timestamp: bigint): Promise<void> {
    while (!this.#ended) {
      const follower = this.#followers.get(copy);
      if (!follower?.isCaughtUp || follower.confirmed >= timestamp) return;
      await new Promise<void>((resolve) => {
        this.#options.environment.after(PROGRESS_CHECK_MS, resolve);
      });
    }
  }

  /** Resolves the waits for everything that all required copies have confirmed. */
  #advance(): void {
    let replicated = this.#published;
    for (const copy of this.#required) {
      const confirmed = this.#followers.get(copy)?.confirmed ?? -1n;
      if (confirmed < replicated) replicated = confirmed;
    }
    if (replicated <= this.#replicated) return;
    this.#replicated = replicated;
    const waits = this.#waits;
    this.#waits = waits.filter(({ timestamp }) => timestamp > replicated);
    for (const { timestamp, resolve } of waits) if (timestamp <= replicated) resolve();
    void this.#tombstones.collect(() => this.#replicated);
  }

  /** Whether no calls are under way, at the latest after `withinMs`. */
  #quiet(withinMs: number): Promise<boolean> {
    if (this.#callsUnderWay === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const stopTimer = this.#options.environment.after(withinMs, () => {
        this.#onQuiet = undefined;
        resolve(false);
      });
      this.#onQuiet = () => {
        stopTimer();
        this.#onQuiet = undefined;
        resolve(true);
      };
    });
  }

  #log(level: "info" | "warn", copy: string, message: string, why?: string): void {
    const { log, address } = this.#options;
    const url = this.#followers.get(copy)?.url;
    const inSync = this.inSync.present.record.inSync.length;
    log[level](
      { url, copy, ...addressFacts(address), term: this.term, inSync, ...(why && { why }) },
      message,
    );
  }
}

/** How often a copy that joins is checked: it delays nobody. */
const PROGRESS_CHECK_MS = 20;
