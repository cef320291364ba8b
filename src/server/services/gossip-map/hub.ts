import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type MapValue, MapValueSchema } from "../../../../gen/atomix/map/map_pb.js";
import { runAntiEntropy } from "../../../gossip/anti-entropy.js";
import { msOfClock } from "../../../gossip/clock.js";
import type { Environment } from "../../../gossip/environment.js";
import { Link } from "../../../gossip/link.js";
import { Replica } from "../../../gossip/replica.js";
import type { MemberHello } from "../../../gossip/reserved-key.js";
import { RestrictedReplica } from "../../../gossip/restricted-replica.js";
import { compareValues } from "../../../gossip/version.js";
import type { ServiceContext } from "../../context.js";
import type { Entry, KeyStore, Write } from "../../engine.js";
import { unavailable } from "../../errors.js";
import { keyPrefix } from "../shared/keyspace.js";
import { EphemeralEntries } from "./ephemeral-entries.js";
import { checkMapSize } from "./map-size.js";
import type { GossipMember } from "./member.js";
import { HubTombstones } from "./tombstones.js";

const NO_VALUE = new Uint8Array();

/** The most entries of one commit. */
const COMMIT_ENTRIES = 100;

export interface HubOptions extends Pick<ServiceContext, "engine" | "limits" | "gossip" | "log"> {
  environment: Environment;
  /** The id of this server as a member. */
  member: string;
  target: { namespace: string; name: string };
  /** The engine's key that records that the map has entries. */
  record: string;
  /** Called when the hub closes. The next member needs a new one. */
  onClose: () => void;
  /** Called when a member has joined or left. */
  onMembers: () => void;
}

type Update = [key: string, value: MapValue];

/**
 * One gossip map on this server: a replica of the engine's entries, and the links to the members that are connected
 * here. A member's updates are committed to the engine, then sent to the other members. The commits of other servers on
 * the same engine arrive by a watch, and are sent in the same way.
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
  readonly #tombstones: HubTombstones;
  /** The id of the member of each link, also after it has left: its last updates may still be written. No servers. */
  readonly #sources = new WeakMap<Link, string>();
  readonly #closing = new AbortController();
  readonly #stopAntiEntropy: () => void;
  /** The last write. Writes run one after the other. */
  #writes: Promise<unknown> = Promise.resolve();
  /** The values that are being committed, and the link that sent them; undefined for those of this server. */
  #committing: { from: Link | undefined; values: Map<string, MapValue> } | undefined;
  readonly #ephemeral: EphemeralEntries;

  /** Opens the hub of a map, with all of its entries in the engine. */
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
    const { engine, environment, target, member, gossip } = options;
    this.#options = options;
    this.#keys = engine.keys;
    this.#prefix = keyPrefix("gossip", target.namespace, target.name);
    this.#replica = new Replica(member, {
      tombstoneMs: gossip.tombstoneMs,
      environment,
      onEnded: ({ key }) => this.#tombstones.onWritten(key),
    });
    this.#tombstones = new HubTombstones({
      ...options,
      prefix: this.#prefix,
      replica: this.#replica,
      versions: this.#versions,
      links: this.#links,
      serialize: (task) => this.#serialize(task),
      tryCommit: (updates) => this.#tryCommit(updates),
    });
    this.#ephemeral = new EphemeralEntries({
      environment,
      graceMs: gossip.memberGraceMs,
      onLost: (keys) => this.#removeLost(keys),
    });
    this.#stopAntiEntropy = runAntiEntropy(this.#links, {
      environment,
      everyMs: gossip.antiEntropyMs,
      idleMs: gossip.idleMs,
      onTurn: () => this.#onTurn(),
    });
  }

  /** Whether it has neither entries nor tombstones. */
  get isEmpty(): boolean {
    return this.#replica.size === 0;
  }

  /** Those that are connected now, other servers included. */
  get members(): Iterable<GossipMember> {
    return this.#members.values();
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Links a member to the map. The hub must be open. */
  join(member: GossipMember): Link {
    const { member: source, target, gossip } = this.#options;
    const { flushMs } = gossip;
    const { access, wake } = member;
    const replica = access ? new RestrictedReplica(this.#replica, access.mayRead) : this.#replica;
    const onHello = (hello: MemberHello) => this.#answerHello(hello);
    const link = new Link(replica, { source, target, flushMs, wake, hashes: !access, onHello });
    this.#links.add(link);
    this.#members.set(link, member);
    // The entries that a server passes on are not its own: they stay when it is away.
    if (!member.peer) {
      this.#sources.set(link, member.source);
      this.#ephemeral.joined(member.source);
    }
    this.#options.onMembers();
    return link;
  }

  leave(link: Link): void {
    const member = this.#members.get(link);
    this.#links.delete(link);
    if (this.#members.delete(link) && member && !member.peer) this.#ephemeral.left(member.source);
    this.#options.onMembers();
    this.#closeIfIdle();
  }

  /** Tells a member that was away for too long to start afresh, so that it does not bring removed entries back. */
  #answerHello({ syncedUpTo }: MemberHello): MemberHello | undefined {
    if (syncedUpTo === undefined) return undefined;
    return this.#tombstones.isBehind(msOfClock(syncedUpTo)) ? { afresh: true } : undefined;
  }

  /** Closes the hub, which must have no members. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.#stop();
    this.#options.onClose();
  }

  /** Stores the updates that are newer, and sends them to the other members. Resolves when they are durable. */
  write(updates: Update[], from: Link): Promise<void> {
    return this.#serialize(() => this.#commit(updates, from));
  }

  #stop(): void {
    this.#closing.abort();
    this.#stopAntiEntropy();
    this.#replica.stop();
    this.#ephemeral.stop();
  }

  /** The engine reports no further changes: ends the members' streams, so that they connect again. */
  #failMembers(error: unknown): void {
    this.close();
    for (const member of this.#members.values()) member.fail(error);
  }

  async #load(): Promise<void> {
    // Watches before it lists, so that no change in between is missed.
    const changes = this.#keys.watch(this.#prefix, this.#closing.signal);
    for await (const entry of this.#keys.list(this.#prefix)) this.#apply(entry);
    await this.#tombstones.load();
    const follow = async () => {
      for await (const change of changes) {
        if (change.type === "set") this.#apply(change.entry);
        else this.#tombstones.onRemoved(this.#keyOf(change.key));
      }
    };
    follow().then(
      () => this.#failMembers(unavailable("the engine has closed")),
      (error: unknown) => {
        this.#options.log.error({ err: error }, "a gossip map lost the engine");
        this.#failMembers(error);
      },
    );
  }

  get #recordWrite(): Write {
    return { type: "set", key: this.#options.record, value: NO_VALUE };
  }

  #serialize<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#writes.then(task);
    this.#writes = done.catch(() => {});
    return done;
  }

  async #commit(updates: Update[], from: Link | undefined): Promise<void> {
    const isNewer = ([key, value]: Update) => this.#replica.takes(key, value);
    const access = from && this.#members.get(from)?.access;
    // A member sends entries that are not newer to confirm that it has them: that is no write.
    if (access) for (const [key] of updates.filter(isNewer)) access.checkWrite(key);
    const { limits, target } = this.#options;
    checkMapSize(this.#replica, updates.filter(isNewer), limits, target.name);
    for (let at = 0; at < updates.length; at += COMMIT_ENTRIES) {
      const batch = updates.slice(at, at + COMMIT_ENTRIES);
      // Retries until each update is committed, or the engine has a newer value from another server.
      for (let pending = batch.filter(isNewer); pending.length > 0; pending = pending.filter(isNewer)) {
        this.#committing = { from, values: new Map(pending) };
        await this.#tryCommit(pending).finally(() => {
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
    const commit = await this.#keys.commit(
      this.#replica.size === 0 ? [...writes, this.#recordWrite] : writes,
    );
    if ("version" in commit) {
      for (const { key, value } of writes) this.#apply({ key, value, version: commit.version });
    } else if (commit.actual) {
      // Another server was faster. Its value may be newer or older.
      this.#apply(commit.actual);
    } else {
      this.#versions.delete(this.#keyOf(commit.conflict.key));
    }
  }

  /** Applies an entry of the engine to the replica, and sends it to the members. Does nothing if it is not newer. */
  #apply({ key: engineKey, value: bytes, version }: Entry): void {
    const key = this.#keyOf(engineKey);
    if (version <= (this.#versions.get(key) ?? 0n)) return;
    this.#versions.set(key, version);
    const value = fromBinary(MapValueSchema, bytes);
    const stored = this.#replica.apply(key, value);
    this.#tombstones.onWritten(key);
    if (!stored) return;
    const committing = this.#committing?.values.get(key);
    const isOwn = committing && compareValues(committing, value) === 0;
    const from = isOwn ? this.#committing?.from : undefined;
    this.#ephemeral.stored(stored, from && this.#sources.get(from));
    for (const link of this.#links) {
      if (link === from) link.knows(stored);
      else link.changed(key);
    }
  }

  #onTurn(): void {
    if (this.#replica.tombstones > 0) this.#tombstones.check();
    else this.#closeIfIdle();
  }

  /**
   * Removes entries of a member that has left. The tombstones have the timestamps of the entries: if the member has sent
   * newer ones to another server, these are later, whatever arrives first.
   */
  #removeLost(keys: readonly string[]): void {
    const updates: Update[] = [];
    for (const key of keys) {
      const timestamp = this.#replica.live(key)?.digest?.timestamp;
      if (timestamp) updates.push([key, create(MapValueSchema, { digest: { timestamp, tombstone: true } })]);
    }
    this.#serialize(() => this.#commit(updates, undefined)).catch((error: unknown) => {
      this.#options.log.warn({ err: error }, "could not remove the entries of a member that has left");
    });
  }

  /** Closes a map without members, unless it has entries that must be removed later. */
  #closeIfIdle(): void {
    if (this.closed || this.#links.size > 0) return;
    if (this.#replica.tombstones + this.#replica.expiring > 0) return;
    const { revision } = this.#replica;
    void this.#serialize(async () => {
      if (this.#links.size === 0 && this.#replica.revision === revision) this.close();
    });
  }

  #keyOf(key: string): string {
    return key.slice(this.#prefix.length);
  }
}
