import type { CallOptions, ConnectError, Transport } from "@connectrpc/connect";
import { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import type { Environment } from "../../gossip/environment.js";
import { Replica, type Stored } from "../../gossip/replica.js";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { onAbort } from "../../lib/on-abort.js";
import { openFor } from "../client-lifetime.js";
import { generatedClient } from "../generated-client.js";
import type { GossipPersistence } from "../gossip-persistence.js";
import { Changes, type Difference } from "./changes.js";
import { Journal } from "./journal.js";
import { type LinkState, MapStatus } from "./map-status.js";
import { ServerSync } from "./sync.js";
import { UnsentWrites } from "./unsent-writes.js";
import type { WaitOptions } from "./waiters.js";

export interface LocalMemberOptions {
  namespace: string;
  memberId: string;
  flushMs: number;
  antiEntropyMs: number;
  tombstoneMs: number;
  maxAheadMs: number;
  /** Where the replica is kept. Default: nowhere. */
  persist?: GossipPersistence | undefined;
  /** Closes the member when it aborts. */
  signal: AbortSignal | undefined;
  /** Default: the time and randomness of this process. */
  environment?: Environment;
  /** The options of every stream to the server. */
  call: CallOptions;
}

/** This member of a gossip map: its replica, its connection to the server, and the loops over its changes. */
export class LocalMember {
  readonly name: string;
  readonly status: MapStatus;
  readonly replica: Replica;
  /** Resolves when the entries of the storage are here. Never rejects. */
  readonly loaded: Promise<void>;
  readonly #unsent: UnsentWrites;
  readonly #journal: Journal | undefined;
  readonly #sync: ServerSync;
  readonly #loops = new Set<Changes>();
  readonly #unregister: () => void;
  readonly #stopListening: () => void;
  #refusal: ConnectError | undefined;
  #closing: Promise<void> | undefined;

  constructor(transport: Transport, name: string, options: LocalMemberOptions) {
    const { namespace, memberId, flushMs, antiEntropyMs, environment, persist, call } = options;
    const { tombstoneMs, maxAheadMs } = options;
    const client = generatedClient(GossipMapService, transport);
    this.name = name;
    this.#unregister = openFor(transport, () => this.close());
    this.replica = new Replica(memberId, {
      tombstoneMs,
      maxAheadMs,
      ...(environment && { environment }),
      onEnded: (ended) => this.#publish(ended, false),
    });
    this.#unsent = new UnsentWrites(this.replica.environment, () => this.status.update());
    this.status = new MapStatus({
      environment: this.replica.environment,
      linkState: () => this.#linkState(),
      unsent: () => this.#unsent.size,
    });
    this.#sync = new ServerSync({
      replica: this.replica,
      status: this.status.connection,
      source: memberId,
      target: { namespace, name },
      flushMs,
      antiEntropyMs,
      open: (messages, signal) => client.connect(messages, { ...call, signal, timeoutMs: 0 }),
      isUnsent: (key) => this.#unsent.has(key),
      onStored: (stored) => this.#storeOfServer(stored),
      // The values are the same, so readers need not know.
      onRestamped: (restamped) => this.#journal?.replace(restamped.length),
      onDropped: (dropped) => {
        for (const stored of dropped) this.#publish(stored, false);
        this.#journal?.replace(dropped.length);
      },
      onProgress: () => this.#checkUnsent(),
      onRefused: (error) => this.#refuse(error),
    });
    this.#journal = persist && this.#openJournal(persist, `${namespace}/${name}`);
    this.loaded = this.#start();
    this.#stopListening = onAbort(options.signal, () => void this.close());
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
    const changed = change();
    for (const stored of changed) {
      this.#publish(stored, true);
      this.#unsent.add(stored.key);
      this.#journal?.changed(stored.key);
      this.#sync.changed(stored.key);
    }
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

  #openJournal(persistence: GossipPersistence, name: string): Journal {
    return new Journal({
      persistence,
      name,
      replica: this.replica,
      unsent: this.#unsent,
      onLoaded: (stored) => this.#publish(stored, false),
      onError: (error) => this.status.stored(error),
    });
  }

  async #start(): Promise<void> {
    if (this.#journal) {
      await this.#journal.open();
      await this.#journal.start();
    }
    this.#sync.start();
  }

  async #close(): Promise<void> {
    await this.loaded;
    // The server's last confirmations are stored as well.
    await this.#sync.close();
    await this.#journal?.close();
    this.#end();
  }

  #storeOfServer(stored: Stored): void {
    this.#publish(stored, false);
    this.#unsent.delete(stored.key);
    this.#journal?.changed(stored.key);
  }

  #linkState(): LinkState["current"] {
    const { state } = this.#sync;
    return state === "connected" && this.#unsent.isSlow ? "behind" : state;
  }

  /** Looks which writes the server has confirmed. */
  #checkUnsent(): void {
    if (this.#sync.state !== "connected") this.#unsent.restart();
    for (const key of this.#unsent) {
      if (!this.#sync.has(key)) continue;
      this.#unsent.delete(key);
      this.#journal?.sent(key);
    }
    this.status.update();
  }

  #publish(stored: Stored, local: boolean): void {
    for (const loop of this.#loops) loop.add(stored, local);
  }

  #refuse(error: ConnectError): void {
    this.#refusal = error;
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
