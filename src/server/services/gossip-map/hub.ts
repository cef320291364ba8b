import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type MapValue, MapValueSchema } from "../../../../gen/atomix/map/map_pb.js";
import { runAntiEntropy } from "../../../gossip/anti-entropy.js";
import { Link } from "../../../gossip/link.js";
import { Replica, sizeOf } from "../../../gossip/replica.js";
import { compareValues } from "../../../gossip/version.js";
import { quote } from "../../../lib/quote.js";
import type { ServiceContext } from "../../context.js";
import type { Entry, KeyStore } from "../../engine.js";
import { exhausted, unavailable } from "../../errors.js";
import { keyPrefix } from "../shared/keyspace.js";

/** What one commit writes at most. */
const COMMIT_ENTRIES = 100;

export interface HubOptions extends Pick<ServiceContext, "engine" | "limits" | "gossip" | "log"> {
  /** The id of this server as a member. */
  member: string;
  target: { namespace: string; name: string };
  /** Called when the hub is of no more use: another one takes its place where it is needed. */
  onClose: (hub: GossipHub) => void;
}

type Update = [key: string, value: MapValue];

/** How a stream to a member takes part. */
export interface GossipMember {
  /** Called when there is more to send to it than before, or sooner. */
  wake: () => void;
  /** Called where the hub cannot go on. */
  fail: (error: unknown) => void;
}

/**
 * One gossip map on this server: a copy of what the engine keeps of it, and the links to the members that are
 * connected here. What a member sends is committed to the engine first and told to the others after that; what another
 * server on the same engine commits arrives through its watch and is told in the same way.
 */
export class GossipHub {
  readonly #options: HubOptions;
  readonly #keys: KeyStore;
  readonly #prefix: string;
  readonly #replica: Replica;
  /** The engine's version of each entry here. */
  readonly #versions = new Map<string, bigint>();
  readonly #links = new Set<Link>();
  readonly #members = new Map<Link, GossipMember>();
  readonly #closing = new AbortController();
  readonly #stopTurns: () => void;
  /** The last of the writes, which come one after the other. */
  #writes: Promise<unknown> = Promise.resolve();
  /** What is being committed, and for whom. */
  #committing: { from: Link; values: Map<string, MapValue> } | undefined;

  /** The hub of the map, with everything that the engine has of it. */
  static async open(options: HubOptions): Promise<GossipHub> {
    const hub = new GossipHub(options);
    try {
      await hub.#load();
      return hub;
    } catch (error) {
      hub.#stop();
      throw error;
    }
  }

  private constructor(options: HubOptions) {
    const { engine, target, member, gossip } = options;
    this.#options = options;
    this.#keys = engine.keys;
    this.#prefix = keyPrefix("gossip", target.namespace, target.name);
    this.#replica = new Replica(member, { tombstoneMs: gossip.tombstoneMs });
    this.#stopTurns = runAntiEntropy(this.#links, {
      everyMs: gossip.antiEntropyMs,
      idleMs: gossip.idleMs,
      onTurn: () => this.#tidy(),
    });
  }

  /** Whether it has no entries, removed ones included. */
  get isEmpty(): boolean {
    return this.#replica.size === 0;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Links a member to the map, on an open hub. */
  join(member: GossipMember): Link {
    const { member: source, target, gossip } = this.#options;
    const { flushMs } = gossip;
    const link = new Link(this.#replica, { source, target, flushMs, wake: member.wake });
    this.#links.add(link);
    this.#members.set(link, member);
    return link;
  }

  leave(link: Link): void {
    this.#links.delete(link);
    this.#members.delete(link);
    this.#closeIfIdle();
  }

  /** Stores the member's entries that are newer and tells the other members. Resolves when they are durable. */
  write(updates: Update[], from: Link): Promise<void> {
    return this.#inTurn(() => this.#commit(updates, from));
  }

  #close(): void {
    if (this.closed) return;
    this.#stop();
    this.#options.onClose(this);
  }

  #stop(): void {
    this.#closing.abort();
    this.#stopTurns();
  }

  /** The engine tells of no more changes: members come back to where it does. */
  #lose(error: unknown): void {
    this.#close();
    for (const member of this.#members.values()) member.fail(error);
  }

  async #load(): Promise<void> {
    // Watching first, so that nothing falls between the two.
    const changes = this.#keys.watch(this.#prefix, this.#closing.signal);
    for await (const entry of this.#keys.list(this.#prefix)) this.#take(entry);
    const follow = async () => {
      for await (const change of changes) {
        if (change.type === "set") this.#take(change.entry);
        else this.#gone(this.#keyOf(change.key));
      }
    };
    follow().then(
      () => this.#lose(unavailable("the engine has closed")),
      (error: unknown) => {
        this.#options.log.error({ err: error }, "a gossip map lost the engine");
        this.#lose(error);
      },
    );
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#writes.then(task);
    this.#writes = done.catch(() => {});
    return done;
  }

  async #commit(updates: Update[], from: Link): Promise<void> {
    const newer = ([key, value]: Update) => this.#replica.takes(key, value);
    this.#checkRoom(updates.filter(newer));
    for (let at = 0; at < updates.length; at += COMMIT_ENTRIES) {
      const batch = updates.slice(at, at + COMMIT_ENTRIES);
      // Until each is committed, or another server was seen to have a newer one.
      for (let left = batch.filter(newer); left.length > 0; left = left.filter(newer)) {
        this.#committing = { from, values: new Map(left) };
        await this.#tryCommit(left).finally(() => {
          this.#committing = undefined;
        });
      }
    }
  }

  async #tryCommit(updates: Update[]): Promise<void> {
    const writes = updates.map(([key, value]) => ({
      type: "set" as const,
      key: this.#prefix + key,
      value: toBinary(MapValueSchema, value),
      ifVersion: this.#versions.get(key) ?? 0n,
    }));
    const commit = await this.#keys.commit(writes);
    if ("version" in commit) {
      for (const { key, value } of writes) this.#take({ key, value, version: commit.version });
    } else if (commit.actual) {
      // Another server was faster: what it wrote may be newer or not.
      this.#take(commit.actual);
    } else {
      this.#versions.delete(this.#keyOf(commit.conflict.key));
    }
  }

  #checkRoom(updates: Update[]): void {
    const { limits, target } = this.#options;
    let entries = this.#replica.size;
    let bytes = this.#replica.bytes;
    for (const [key, value] of updates) {
      const present = this.#replica.get(key);
      if (!present) entries++;
      bytes += sizeOf(key, value) - sizeOf(key, present);
    }
    const full = `gossip map ${quote(target.name)} is full, with ${this.#replica.size} entries`;
    if (entries > Math.max(limits.gossipEntries, this.#replica.size)) {
      throw exhausted("gossipEntries", limits.gossipEntries, full);
    }
    if (bytes > Math.max(limits.gossipBytes, this.#replica.bytes)) {
      throw exhausted("gossipBytes", limits.gossipBytes, full);
    }
  }

  /** Takes in what the engine has, and tells the members of it; what is known already changes nothing. */
  #take({ key: at, value: bytes, version }: Entry): void {
    const key = this.#keyOf(at);
    if (version <= (this.#versions.get(key) ?? 0n)) return;
    this.#versions.set(key, version);
    const value = fromBinary(MapValueSchema, bytes);
    const stored = this.#replica.apply(key, value);
    if (!stored) return;
    const own = this.#committing?.values.get(key);
    const from = own && compareValues(own, value) === 0 ? this.#committing?.from : undefined;
    for (const link of this.#links) {
      if (link === from) link.knows(stored);
      else link.changed(key);
    }
  }

  /** Another server has forgotten a tombstone. */
  #gone(key: string): void {
    this.#replica.forget([key]);
    if (!this.#replica.get(key)) this.#versions.delete(key);
  }

  /** Forgets the tombstones that every member here has, and that are old enough. */
  #tidy(): void {
    const links = [...this.#links];
    const old = this.#replica.forgettable((key) => links.every((link) => link.has(key)));
    const keys = old.slice(0, COMMIT_ENTRIES);
    if (keys.length === 0) {
      this.#closeIfIdle();
      return;
    }
    const forget = async () => {
      const writes = keys.map((key) => ({
        type: "delete" as const,
        key: this.#prefix + key,
        ifVersion: this.#versions.get(key) ?? 0n,
      }));
      const commit = await this.#keys.commit(writes);
      // Where one has been written to meanwhile, all of them wait for the next turn.
      if ("conflict" in commit) return;
      for (const key of keys) this.#versions.delete(key);
      this.#replica.forget(keys);
    };
    this.#inTurn(forget).catch((error: unknown) => {
      this.#options.log.warn({ err: error }, "could not forget what was removed from a gossip map");
    });
  }

  /** A map that no one is linked to is read again when it is needed; removed keys are remembered until they may go. */
  #closeIfIdle(): void {
    if (this.closed || this.#links.size > 0 || this.#replica.tombstones > 0) return;
    const { revision } = this.#replica;
    void this.#inTurn(async () => {
      if (this.#links.size === 0 && this.#replica.revision === revision) this.#close();
    });
  }

  #keyOf(key: string): string {
    return key.slice(this.#prefix.length);
  }
}
