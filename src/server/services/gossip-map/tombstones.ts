import type { MapValue } from "../../../../gen/atomix/map/map_pb.js";
import type { Link } from "../../../gossip/link.js";
import type { Replica } from "../../../gossip/replica.js";
import type { ServiceContext } from "../../context.js";
import type { Write } from "../../engine.js";
import { decodeHorizon, encodeHorizon } from "./horizon.js";

/** The most tombstones of one commit. */
const BATCH = 100;

/** The time for servers to write an old tombstone again before others remove it, as a fraction of `tombstoneMs`. */
const RENEWAL_TIME = 0.5;

/** For the delays between servers, and what their clocks differ, in milliseconds; less if `tombstoneMs` is short. */
const MARGIN_MS = 60_000;

type Tombstone = [key: string, value: MapValue];

interface TombstonesOptions extends Pick<ServiceContext, "engine" | "gossip" | "log"> {
  replica: Replica;
  links: ReadonlySet<Link>;
  /** The engine's version of each entry of the replica. Those of removed tombstones are deleted here. */
  versions: Map<string, bigint>;
  /** The prefix of the map's keys in the engine. */
  prefix: string;
  /** The engine's key that records that the map has entries. */
  record: string;
  /** Runs `task` after the writes before it, and before those after it. */
  serialize(task: () => Promise<void>): Promise<void>;
  /** Writes tombstones, unless another server has written one of them since: then it applies that. */
  tryCommit(tombstones: Tombstone[]): Promise<void>;
}

/**
 * How long the engine keeps the tombstones of a gossip map. A server removes one that all of its members have, and knows
 * nothing about the members of other servers. So a server whose members lack an old one writes it again, by which its
 * time begins again on all servers, and the others wait for that before they remove it.
 */
export class HubTombstones {
  readonly #options: TombstonesOptions;
  /** When each tombstone was last written to the engine, as this server has learned of it, by key. Oldest first. */
  readonly #writtenMs = new Map<string, number>();
  /** The tombstones that other servers have removed too early, by key. */
  readonly #toRestore = new Map<string, MapValue>();
  #isChecking = false;
  /** When the latest of the removed tombstones was written, in Unix milliseconds; 0 if none was removed. */
  #horizonMs = 0;

  constructor(options: TombstonesOptions) {
    this.#options = options;
  }

  /** Reads the horizon that the servers before this one have left. */
  async load(): Promise<void> {
    const { engine, record } = this.#options;
    this.#raiseHorizon(decodeHorizon((await engine.keys.get(record))?.value));
  }

  /**
   * Whether a member that was in sync for the last time at `syncedMs` (Unix milliseconds) may lack a tombstone that was
   * removed: then it could bring the removed entry back.
   */
  isBehind(syncedMs: number): boolean {
    const marginMs = Math.min(MARGIN_MS, this.#options.gossip.tombstoneMs / 2);
    return this.#horizonMs > 0 && syncedMs < this.#horizonMs + marginMs;
  }

  /** To be called when the replica has a new version of the entry at `key`, or when the lifetime of it has ended. */
  onWritten(key: string): void {
    const { engine, replica } = this.#options;
    this.#writtenMs.delete(key);
    if (replica.get(key) && !replica.live(key)) this.#writtenMs.set(key, engine.clock.now());
  }

  /**
   * To be called when another server has removed a tombstone. If a member here may not have it, that could bring the
   * removed entry back: then the tombstone is written again.
   */
  onRemoved(key: string): void {
    const { replica, versions, log } = this.#options;
    const present = replica.get(key);
    if (!present || replica.live(key)) {
      if (!present) versions.delete(key);
      return;
    }
    this.#raiseHorizon(this.#wallTimeOf(key));
    if (this.#allHave(key)) {
      this.#forget([key]);
      return;
    }
    versions.delete(key);
    this.#toRestore.set(key, present);
    if (this.#toRestore.size > 1) return;
    this.#options
      .serialize(() => this.#restore())
      .catch((error: unknown) => {
        log.warn({ err: error }, "could not keep what was removed from a gossip map");
      });
  }

  /** Removes old tombstones that every member here has, and keeps the others. */
  check(): void {
    if (this.#isChecking) return;
    this.#isChecking = true;
    const check = async () => {
      // Chosen here and not before: earlier writes may have replaced them.
      await this.#remove();
      await this.#renew();
    };
    this.#options
      .serialize(check)
      .catch((error: unknown) => {
        this.#options.log.warn({ err: error }, "could not forget what was removed from a gossip map");
      })
      .finally(() => {
        this.#isChecking = false;
      });
  }

  async #remove(): Promise<void> {
    const { engine, gossip, prefix, record, replica, versions } = this.#options;
    const ageMs = gossip.tombstoneMs * (engine.peers ? 1 + RENEWAL_TIME : 1);
    const keys = this.#old(ageMs, (key) => this.#allHave(key));
    if (keys.length === 0) return;
    const removed = keys.map((key) => ({ key, version: versions.get(key) ?? 0n }));
    const writes = removed.map(
      ({ key, version }): Write => ({ type: "delete", key: prefix + key, ifVersion: version }),
    );
    const horizonMs = Math.max(this.#horizonMs, ...keys.map((key) => this.#wallTimeOf(key)));
    // Without entries there is nothing to protect, and the map makes room for another.
    const recordWrite: Write =
      keys.length === replica.size
        ? { type: "delete", key: record }
        : { type: "set", key: record, value: encodeHorizon(horizonMs) };
    const commit = await engine.keys.commit([...writes, recordWrite]);
    // If one of them was written in the meantime, all of them wait for the next time.
    if ("conflict" in commit) return;
    this.#raiseHorizon(horizonMs);
    // What was written since then stays.
    const gone = removed.filter(({ key, version }) => versions.get(key) === version);
    this.#forget(gone.map(({ key }) => key));
  }

  /** Writes old tombstones again that a member here lacks. */
  async #renew(): Promise<void> {
    const { engine, gossip, replica, tryCommit } = this.#options;
    // Without other servers nobody else removes them.
    if (!engine.peers) return;
    const keys = this.#old(gossip.tombstoneMs, (key) => !this.#allHave(key));
    const tombstones = keys.flatMap((key): Tombstone[] => {
      const value = replica.get(key);
      return value ? [[key, value]] : [];
    });
    if (tombstones.length > 0) await tryCommit(tombstones);
  }

  async #restore(): Promise<void> {
    const { versions, tryCommit } = this.#options;
    const all = [...this.#toRestore];
    this.#toRestore.clear();
    for (let at = 0; at < all.length; at += BATCH) {
      const batch = all.slice(at, at + BATCH);
      const isMissing = ([key]: Tombstone) => !versions.has(key);
      for (let missing = batch.filter(isMissing); missing.length > 0; missing = missing.filter(isMissing)) {
        await tryCommit(missing);
      }
    }
  }

  /** The keys of tombstones that were written at least `ageMs` ago and for which `fits` holds: a batch at most. */
  #old(ageMs: number, fits: (key: string) => boolean): string[] {
    const keys: string[] = [];
    const untilMs = this.#options.engine.clock.now() - ageMs;
    for (const [key, writtenMs] of this.#writtenMs) {
      if (writtenMs > untilMs || keys.length === BATCH) break;
      if (fits(key)) keys.push(key);
    }
    return keys;
  }

  /** Whether every member here has the entry at `key`. */
  #allHave(key: string): boolean {
    for (const link of this.#options.links) if (!link.has(key)) return false;
    return true;
  }

  /** When the tombstone at `key` was written, in Unix milliseconds; 0 if that is not known. */
  #wallTimeOf(key: string): number {
    const { clock } = this.#options.engine;
    const writtenMs = this.#writtenMs.get(key);
    return writtenMs === undefined ? 0 : clock.wall() - (clock.now() - writtenMs);
  }

  #raiseHorizon(horizonMs: number): void {
    this.#horizonMs = Math.max(this.#horizonMs, horizonMs);
  }

  #forget(keys: readonly string[]): void {
    const { replica, versions } = this.#options;
    for (const key of keys) {
      versions.delete(key);
      this.#writtenMs.delete(key);
    }
    replica.forget(keys);
  }
}
