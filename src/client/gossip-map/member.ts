import type { CallOptions, ConnectError, Transport } from "@connectrpc/connect";
import { GossipMapService, type MapValue, type Message } from "../../../gen/atomix/map/map_pb.js";
import { compareBytes } from "../../gossip/clock.js";
import type { Environment } from "../../gossip/environment.js";
import { isEphemeralTime } from "../../gossip/lifetime.js";
import type { Link } from "../../gossip/link.js";
import { Replica, type Stored } from "../../gossip/replica.js";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { onAbort } from "../../lib/on-abort.js";
import { openFor } from "../client-lifetime.js";
import { generatedClient } from "../generated-client.js";
import type { GossipPersistence } from "../gossip-persistence.js";
import { Changes, type Difference } from "./changes.js";
import { EPHEMERAL_LIFETIME, EphemeralWrites } from "./ephemeral-writes.js";
import { Journal } from "./journal.js";
import { type LinkState, MapStatus } from "./map-status.js";
import { onPageChange } from "./page-events.js";
import { IDLE_MS, ServerSync, storeEntries } from "./sync.js";
import type { TabPlatform } from "./tabs/tab-channel.js";
import { Tabs } from "./tabs/tabs.js";
import { UnsentWrites } from "./unsent-writes.js";
import type { WaitOptions } from "./waiters.js";

export interface LocalMemberOptions {
  /** Default: the generated service, which loadGossipMap() has anyway. */
  service?: typeof GossipMapService;
  namespace: string;
  memberId: string;
  flushMs: number;
  antiEntropyMs: number;
  tombstoneMs: number;
  maxAheadMs: number;
  /** Where the replica is kept. Default: nowhere. */
  persist?: GossipPersistence | undefined;
  /** The tabs that share the storage. Default: none do. */
  tabs?: TabPlatform | undefined;
  /** Called after each change of the entry at a key, by whomever it was made. Default: no function. */
  onChanged?: (key: string) => void;
  /** Closes the member when it aborts. */
  signal: AbortSignal | undefined;
  /** Default: the time and randomness of this process. */
  environment?: Environment;
  /** The options of every stream to the server. */
  call: CallOptions;
}

/** How long a change waits for further ones before it is sent to another tab: that costs little. */
const TAB_FLUSH_MS = 5;

/** The version of the protocol between tabs. Those of other versions have streams of their own. */
const TAB_PROTOCOL = 1;

/**
 * This member of a gossip map: its replica and where that is kept, its connection to the server or to the tab that has
 * one, and the loops over its changes.
 */
export class LocalMember {
  readonly name: string;
  readonly status: MapStatus;
  readonly replica: Replica;
  /** Resolves when the entries of the storage are here. Never rejects. */
  readonly loaded: Promise<void>;
  /** Called with each renewed entry: the values before and after are the same. */
  onRenewed: (before: MapValue, after: MapValue) => void = () => {};
  readonly #unsent: UnsentWrites;
  readonly #ephemeral: EphemeralWrites;
  readonly #journal: Journal | undefined;
  readonly #tabs: Tabs | undefined;
  readonly #sync: ServerSync;
  readonly #loops = new Set<Changes>();
  readonly #onChanged: (key: string) => void;
  readonly #unregister: () => void;
  readonly #stopListening: () => void;
  #hasStarted = false;
  /** How often another tab has become the leading one, or this one. */
  #roles = 0;
  #isConfirming = false;
  #refusal: ConnectError | undefined;
  #closing: Promise<void> | undefined;

  constructor(transport: Transport, name: string, options: LocalMemberOptions) {
    const { memberId, tombstoneMs, maxAheadMs, environment, persist } = options;
    this.name = name;
    this.#onChanged = options.onChanged ?? (() => {});
    this.#unregister = openFor(transport, () => this.close());
    this.replica = new Replica(memberId, {
      tombstoneMs,
      maxAheadMs,
      ...(environment && { environment }),
      onEnded: (ended) => {
        this.#publish(ended, false);
        this.#ephemeral.ended(ended);
      },
    });
    this.#ephemeral = new EphemeralWrites(this.replica.environment, (key, value) =>
      this.#write([this.replica.set(key, value, EPHEMERAL_LIFETIME)]),
    );
    this.#unsent = new UnsentWrites(this.replica.environment, () => this.status.update());
    this.status = new MapStatus({
      environment: this.replica.environment,
      linkState: () => this.#linkState(),
      unsent: () => this.#unsent.size,
      onChange: () => this.#tabs?.stateChanged(),
    });
    this.#sync = this.#createSync(transport, options);
    this.#journal = persist && this.#createJournal(persist, options);
    this.#tabs = this.#createTabs(options);
    this.loaded = this.#start();
    const stops = [
      onAbort(options.signal, () => void this.close()),
      onPageChange({
        onHidden: () => this.#flush(),
        onFrozen: () => this.#freeze(),
        onBack: () => this.#resume(),
      }),
    ];
    this.#stopListening = () => stops.forEach((stop) => void stop());
  }

  /** The number of keys that have a value. */
  get size(): number {
    return this.replica.liveSize;
  }

  /** Resolves when the replica has all entries of the server. */
  async caughtUp(options: WaitOptions): Promise<void> {
    await this.loaded;
    return this.#sync.caughtUp(options);
  }

  /** Resolves when the server has all entries of the replica. */
  synced(options: WaitOptions): Promise<void> {
    return this.#sync.synced(options);
  }

  /** Changes the replica, and returns the number of changed entries. `operation` names it in errors. */
  write(operation: string, change: () => Stored[]): number {
    if (this.#closing) throw new TypeError(`Cannot ${operation}: the gossip map "${this.name}" is closed`);
    return this.#write(change());
  }

  #write(changed: Stored[]): number {
    for (const stored of changed) this.#storeUnsent(stored, true);
    if (this.#unsent.size === changed.length) this.status.update();
    return changed.length;
  }

  /** Iterates over the changes from now on, with the values that `generate` makes of them. */
  changes<T>(
    signal: AbortSignal | undefined,
    generate: (differences: AsyncIterable<Difference>) => AsyncGenerator<T, void, undefined>,
  ): CancelableIterator<T> {
    const loop = new Changes();
    if (this.#refusal) loop.fail(this.#refusal);
    else if (this.#closing) loop.end();
    else this.#loops.add(loop);
    return cancelable((signal) => generate(loop.read(signal)), {
      signal,
      onEnd: () => this.#loops.delete(loop),
    });
  }

  close(): Promise<void> {
    for (const loop of this.#loops) loop.end();
    return (this.#closing ??= this.#close());
  }

  #createSync(transport: Transport, options: LocalMemberOptions): ServerSync {
    const { service = GossipMapService, namespace, memberId, flushMs, antiEntropyMs, call } = options;
    const client = generatedClient(service, transport);
    const isFollowing = () => this.#tabs?.isFollowing ?? false;
    return new ServerSync({
      replica: this.replica,
      status: this.status.connection,
      source: memberId,
      target: { namespace, name: this.name },
      get flushMs() {
        return isFollowing() ? Math.min(flushMs, TAB_FLUSH_MS) : flushMs;
      },
      antiEntropyMs,
      open: (messages, signal) =>
        this.#tabs && isFollowing()
          ? this.#tabs.open(messages, signal)
          : client.connect(messages, { ...call, signal, timeoutMs: 0 }),
      confirm: () => (isFollowing() ? this.#tabs?.confirm(true) : undefined),
      mayForget: (key) => this.#tabs?.have(key) ?? true,
      isUnsent: (key) => this.#unsent.has(key),
      onStored: (stored) => this.#storeSent(stored),
      // The values are the same, so readers need not know.
      onRestamped: (restamped) => this.#journal?.replace(restamped.length),
      onDropped: (dropped) => {
        for (const stored of dropped) this.#publish(stored, false);
        this.#journal?.replace(dropped.length);
      },
      onConnected: () => this.#ephemeral.renewAll(),
      onProgress: () => this.#checkUnsent(),
      onRefused: (error) => this.#refuse(error),
    });
  }

  #createJournal(persistence: GossipPersistence, { namespace }: LocalMemberOptions): Journal {
    return new Journal({
      persistence,
      name: storeNameOf(namespace, this.name),
      replica: this.replica,
      unsent: this.#unsent,
      onLoaded: (stored) => {
        this.#publish(stored, false);
        this.#tabs?.changed(stored.key);
        if (this.#hasStarted) this.#sync.changed(stored.key);
      },
      onError: (error) => this.status.stored(error),
    });
  }

  #createTabs({ persist, tabs, namespace, memberId, antiEntropyMs }: LocalMemberOptions): Tabs | undefined {
    if (persist?.scope === undefined || !tabs) return undefined;
    return new Tabs({
      platform: tabs,
      name: `fairlead-gossip-${TAB_PROTOCOL}:${persist.scope}:${storeNameOf(namespace, this.name)}`,
      replica: this.replica,
      source: memberId,
      target: { namespace, name: this.name },
      flushMs: TAB_FLUSH_MS,
      antiEntropyMs,
      idleMs: IDLE_MS,
      state: () => this.status.link,
      synced: (isPrompt) => this.#sync.synced({}, isPrompt),
      onRole: (role) => this.#become(role),
      onLeader: (state, isOther) => {
        this.status.follow(state);
        if (isOther) this.#reroute();
      },
      onMessage: (link, message) => this.#receiveFromTab(link, message),
      onGone: (member) => this.#removeEphemeral(member),
    });
  }

  async #start(): Promise<void> {
    if (this.#journal) {
      await this.#tabs?.start();
      const role = this.#roles;
      await this.#journal.open();
      if (!this.#tabs?.isFollowing) await this.#journal.start({ reload: this.#roles !== role });
    }
    this.#hasStarted = true;
    this.#sync.start();
  }

  #become(role: "leader" | "follower"): void {
    this.#roles++;
    this.status.follow(
      role === "leader" ? undefined : { ...this.status.link, current: "syncing", error: undefined },
    );
    this.#reroute();
    if (role === "follower") void this.#journal?.stop();
    else if (this.#hasStarted) void this.#journal?.start({ reload: true });
  }

  #reroute(): void {
    this.#isConfirming = false;
    if (this.#hasStarted) this.#sync.reroute();
  }

  async #close(): Promise<void> {
    await this.loaded;
    this.#write(this.replica.delete(this.#ephemeral.close()));
    // Before the storage is closed: the server's last confirmations are stored as well.
    await this.#sync.close();
    await this.#flush();
    await this.#journal?.close();
    this.#tabs?.close();
    this.#end();
  }

  /** Stores what is pending, as this page may be gone soon. */
  async #flush(): Promise<void> {
    if (!this.#tabs?.isFollowing) return this.#journal?.flush();
    const pending = [...this.#unsent].filter((key) => !this.#sync.has(key));
    await this.#journal?.rescue(pending);
  }

  #freeze(): void {
    void this.#flush();
    void this.#journal?.stop();
    this.#tabs?.suspend();
  }

  #resume(): void {
    if (!this.#closing) void this.#tabs?.start();
  }

  /** Stores an entry that the server does not have. `from`: the link to the tab that wrote it. */
  #storeUnsent(stored: Stored, isLocal: boolean, from?: Link): void {
    this.#publish(stored, isLocal);
    if (isLocal) this.#ephemeral.written(stored);
    else this.#ephemeral.replaced(stored);
    this.#unsent.add(stored.key);
    this.#journal?.changed(stored.key);
    this.#sync.changed(stored.key);
    this.#tabs?.changed(stored.key, from);
  }

  /** Stores an entry of the server, or of the leading tab. */
  #storeSent(stored: Stored): void {
    this.#publish(stored, false);
    this.#unsent.delete(stored.key);
    this.#journal?.changed(stored.key);
    this.#ephemeral.replaced(stored);
    this.#tabs?.changed(stored.key);
  }

  #receiveFromTab(link: Link, message: Message): void {
    for (const stored of storeEntries(this.replica, link, message)) this.#storeUnsent(stored, false, link);
    this.status.update();
  }

  /** Removes the ephemeral entries of another tab, as the server does: see EphemeralWrites.replaced(). */
  #removeEphemeral(member: string): void {
    for (const stored of this.replica.removeEphemeral(member)) this.#storeUnsent(stored, false);
  }

  #linkState(): LinkState["current"] {
    const { state } = this.#sync;
    return state === "connected" && this.#unsent.isSlow ? "behind" : state;
  }

  /** Looks which writes the server has confirmed. */
  #checkUnsent(): void {
    if (this.#sync.state !== "connected") this.#unsent.restart();
    if (this.#tabs?.isFollowing) void this.#askLeader(this.#tabs);
    else for (const key of this.#unsent) if (this.#sync.has(key)) this.#noteSent(key);
    this.status.update();
  }

  /** Asks the leading tab to tell when the server has the writes of this tab, as soon as the leading tab has them. */
  async #askLeader(tabs: Tabs): Promise<void> {
    if (this.#isConfirming || this.#unsent.size === 0) return;
    for (const key of this.#unsent) if (!this.#sync.has(key)) return;
    const writes = [...this.#unsent].map((key) => [key, this.replica.get(key)] as const);
    this.#isConfirming = true;
    const role = this.#roles;
    const isConfirmed = await tabs.confirm(false).catch(() => false);
    if (role !== this.#roles) return;
    this.#isConfirming = false;
    if (!isConfirmed) return;
    for (const [key, value] of writes) if (this.replica.get(key) === value) this.#noteSent(key);
    this.status.update();
  }

  #noteSent(key: string): void {
    this.#unsent.delete(key);
    this.#journal?.sent(key);
  }

  #publish(stored: Stored, local: boolean): void {
    this.#onChanged(stored.key);
    const { before, live } = stored;
    // The same value, written once more so that it does not end.
    if (before && live && isRenewal(before, live)) this.onRenewed(before, live);
    else for (const loop of this.#loops) loop.add(stored, local);
  }

  #refuse(error: ConnectError): void {
    this.#refusal = error;
    this.#tabs?.close();
    this.#end(error);
    for (const loop of this.#loops) loop.fail(error);
  }

  #end(error?: ConnectError): void {
    this.#unregister();
    this.#stopListening();
    this.#unsent.stop();
    this.replica.stop();
    this.status.close(error);
  }
}

/** Unambiguous: neither part has a slash. */
const storeNameOf = (namespace: string, name: string): string =>
  `${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;

function isRenewal(before: MapValue, after: MapValue): boolean {
  const isEphemeral = ({ digest }: MapValue) => digest !== undefined && isEphemeralTime(digest.timestamp);
  return isEphemeral(before) && isEphemeral(after) && compareBytes(before.value, after.value) === 0;
}
