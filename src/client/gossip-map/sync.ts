import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type MapValue, MapValueSchema, type Message } from "../../../gen/atomix/map/map_pb.js";
import { runAntiEntropy } from "../../gossip/anti-entropy.js";
import type { Environment } from "../../gossip/environment.js";
import { Link, type LinkOptions } from "../../gossip/link.js";
import { Multiplexer } from "../../gossip/multiplexer.js";
import type { Replica, Stored } from "../../gossip/replica.js";
import { abortOnBreak } from "../../lib/abort-on-break.js";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import { onAbort } from "../../lib/on-abort.js";
import { createTokenRefreshCheck } from "../../rpc/token-refresh.js";
import { attemptOf } from "../status/attempt.js";
import type { ConnectionStatus } from "../status/connection-status.js";
import { ClockSync, type ClockSyncOptions } from "./clock-sync.js";
import { SyncPoint } from "./sync-point.js";
import { type Wait, Waiters, type WaitOptions } from "./waiters.js";

export interface ServerSyncOptions extends Omit<LinkOptions, "wake">, Omit<ClockSyncOptions, "replica"> {
  replica: Replica;
  /** Gets the state of the connection. */
  status: ConnectionStatus;
  /** Opens a stream to the server. */
  open: (messages: AsyncIterable<Message>, signal: AbortSignal) => AsyncIterable<Message>;
  antiEntropyMs: number;
  /** Called with each entry of the server that was stored. */
  onStored: (stored: Stored) => void;
  /** Called when the peer has sent the first message on a stream. */
  onConnected: () => void;
  /** Called when the peer may have confirmed entries, or the state has changed. */
  onProgress: () => void;
  /**
   * Whether the server has everything that the peer has, if the peer is another tab. False: ask again, the peer has
   * changed. Undefined: the peer is the server.
   */
  confirm?: (() => Promise<boolean> | undefined) | undefined;
  /** Whether a tombstone may be forgotten that the peer has. Default: true. */
  mayForget?: ((key: string) => boolean) | undefined;
  /** Called if the server refuses this member or its entries for good. */
  onRefused: (error: ConnectError) => void;
}

/** The stream: not there yet or not up to date, up to date, refused because the map is full, or lost. */
export type StreamState = "syncing" | "connected" | "behind" | "offline";

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/** How often the replica is compared with the server's while nothing changes. */
export const IDLE_MS = 30_000;

/** How long close() waits for the server to receive the last messages. */
const FLUSH_ON_CLOSE_MS = 2000;

/** The codes after which the stream is opened again. */
const TRANSIENT = new Set([
  Code.Unavailable,
  Code.Canceled,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.ResourceExhausted,
  Code.Internal,
  Code.Unknown,
]);

/** Synchronizes a replica with the server's until it is closed. It opens another stream when one ends. */
export class ServerSync {
  readonly #options: ServerSyncOptions;
  readonly #environment: Environment;
  readonly #waiters: Waiters;
  readonly #closing = new AbortController();
  readonly #stopAntiEntropy: () => void;
  readonly #clock: ClockSync;
  readonly #links = new Set<Link>();
  /** Ends the stream, or the delay before the next one. */
  #rerouting = new AbortController();
  #stream: { link: Link; multiplexer: Multiplexer; connected: boolean } | undefined;
  readonly #syncPoint: SyncPoint;
  #refusal: ConnectError | undefined;
  /** Whether the last stream ended because the server has no room for the entries. */
  #isFull = false;
  #isClosed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: ServerSyncOptions) {
    this.#options = options;
    const { antiEntropyMs: everyMs, replica } = options;
    this.#environment = replica.environment;
    this.#waiters = new Waiters(replica.environment);
    this.#clock = new ClockSync(options);
    this.#syncPoint = new SyncPoint(options);
    this.#stopAntiEntropy = runAntiEntropy(this.#links, {
      environment: replica.environment,
      everyMs,
      idleMs: IDLE_MS,
      onTurn: () => this.#forgetTombstones(replica),
    });
  }

  /** Opens the first stream. */
  start(): void {
    if (!this.#isClosed) this.#ended = this.#run();
  }

  get state(): StreamState {
    const { current } = this.#options.status;
    if (current === "connected") return this.#stream?.link.caughtUp ? "connected" : "syncing";
    if (current === "connecting") return "syncing";
    return this.#isFull ? "behind" : "offline";
  }

  /** Opens another stream, without delay: the peer is another one now. */
  reroute(): void {
    this.#rerouting.abort(new ConnectError("the peer has changed", Code.Unavailable));
  }

  /** Whether the peer has confirmed all entries up to `revision`. */
  hasAll(revision: number): boolean {
    return this.#stream?.link.hasAll(revision) ?? false;
  }

  /** Whether the peer has confirmed the entry at `key`. */
  has(key: string): boolean {
    return this.#stream?.link.has(key) ?? false;
  }

  /** Sends the entry at `key` to the server when there is a connection. */
  changed(key: string): void {
    this.#stream?.link.changed(key);
  }

  /** Resolves when all entries of the server are here. Rejects if the server cannot be reached. */
  caughtUp(options: WaitOptions): Promise<void> {
    const isMet = () => this.#stream?.link.caughtUp ?? false;
    return this.#wait(isMet, { ...options, operation: "Cannot open", isPatient: false, isPrompt: false });
  }

  /**
   * Resolves when the server has all entries that are here now. Waits through lost connections. `isPrompt`: asks the
   * server, instead of waiting for the next comparison.
   */
  synced(options: WaitOptions, isPrompt = true): Promise<void> {
    const { replica, confirm } = this.#options;
    const { revision } = replica;
    let isConfirmed = false;
    let isAsking = false;
    const isMet = () => {
      if (isConfirmed) return true;
      if (isAsking || !this.hasAll(revision)) return false;
      const answer = confirm?.();
      if (!answer) return true;
      isAsking = true;
      answer.then(
        (isAll) => {
          isAsking = false;
          isConfirmed = isAll;
          this.#waiters.check();
        },
        (error: unknown) => this.#waiters.reject(error),
      );
      return false;
    };
    const synced = this.#wait(isMet, { ...options, operation: "Cannot confirm", isPatient: true, isPrompt });
    this.#confirmForWaiters();
    return synced;
  }

  /** Sends pending entries, then ends the stream. Idempotent. */
  close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#stopAntiEntropy();
      this.#stream?.multiplexer.finish();
      const abort = () => this.#closing.abort();
      if (!this.#stream?.connected) abort();
      const cancelAbort = this.#environment.after(FLUSH_ON_CLOSE_MS, abort);
      void this.#ended.then(cancelAbort);
      this.#waiters.reject(closedError());
    }
    return this.#ended;
  }

  async #run(): Promise<void> {
    const mayRenew = createTokenRefreshCheck();
    for (let failures = 1; !this.#isClosed; failures++) {
      if (this.#rerouting.signal.aborted) this.#rerouting = new AbortController();
      const openedMs = this.#environment.monotonicMs();
      const error = await this.#runStream();
      if (this.#isClosed) return;
      if (this.#rerouting.signal.aborted) {
        failures = 0;
        continue;
      }
      this.#isFull = error.code === Code.ResourceExhausted;
      if (mayRenew(error) || this.#clock.repair(error)) continue;
      // Only a stream that lasted resets the backoff: a full map, for example, ends each stream soon.
      if (this.#environment.monotonicMs() - openedMs > BACKOFF.maxMs) failures = 1;
      this.#options.status.disconnected(error);
      const isRefused = !TRANSIENT.has(error.code);
      const evenPatient = isRefused || this.#isFull;
      this.#waiters.reject(error, { evenPatient });
      if (isRefused) {
        this.#refusal = error;
        this.#stopAntiEntropy();
        this.#options.onRefused(error);
        return;
      }
      const attempt = this.#attempt();
      await this.#delay(
        jitteredMs(BACKOFF, failures, () => this.#environment.random()),
        attempt.signal,
      );
      attempt.release();
    }
  }

  /** A signal for one stream or delay: it ends with the map, by reroute(), and when the network changes. */
  #attempt(): { signal: AbortSignal; release: () => void } {
    const attempt = attemptOf(this.#options.status, this.#closing.signal);
    const { signal } = this.#rerouting;
    const either = new AbortController();
    const stops = [signal, attempt.signal].map((each) => onAbort(each, () => either.abort(each.reason)));
    const release = () => {
      for (const stop of stops) stop();
      attempt.release();
    };
    return { signal: either.signal, release };
  }

  /** Resolves after `delayMs`, or when `signal` aborts. */
  async #delay(delayMs: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const stopTimer = this.#environment.after(delayMs, resolve);
      onAbort(signal, () => {
        stopTimer();
        resolve();
      });
    });
  }

  /** Opens a stream and reads it to its end. Returns the error that ended it. */
  async #runStream(): Promise<ConnectError> {
    const { replica, open, status, ...options } = this.#options;
    const multiplexer = new Multiplexer(this.#environment);
    this.#clock.opened();
    const link = new Link(replica, {
      ...options,
      wake: multiplexer.wake,
      hello: () => this.#syncPoint.hello(),
      onHello: (hello) => this.#syncPoint.receive(hello),
    });
    multiplexer.add(link);
    // The comparison finds the entries that were written without a stream.
    link.advertise();
    this.#links.add(link);
    const stream = { link, multiplexer, connected: false };
    this.#stream = stream;
    const connect = (signal: AbortSignal) => open(multiplexer.messages(), signal);
    const attempt = this.#attempt();
    try {
      for await (const message of abortOnBreak(connect, attempt.signal)) {
        const isFirst = !stream.connected;
        stream.connected = true;
        status.connected();
        this.#receive(link, message);
        if (isFirst) this.#options.onConnected();
      }
      return new ConnectError("the server ended the stream", Code.Unavailable);
    } catch (error) {
      return ConnectError.from(error);
    } finally {
      attempt.release();
      multiplexer.stop();
      this.#links.delete(link);
      this.#stream = undefined;
    }
  }

  #receive(link: Link, message: Message): void {
    const { replica, target, onStored } = this.#options;
    if (message.target?.name !== target.name || message.target.namespace !== target.namespace) return;
    const { rounds } = link;
    this.#clock.received(message.message.value?.timestamp);
    for (const stored of storeEntries(replica, link, message)) onStored(stored);
    if (link.rounds > rounds && link.caughtUp) this.#syncPoint.reached(message);
    this.#waiters.check();
    this.#options.onProgress();
    // The server may have sent its round before it received what it is to confirm, so another round is needed.
    if (link.rounds > rounds) this.#environment.after(this.#options.flushMs, () => this.#confirmForWaiters());
  }

  #confirmForWaiters(): void {
    if (this.#waiters.hasPrompt) this.#stream?.link.confirm();
  }

  async #wait(isMet: () => boolean, wait: Wait): Promise<void> {
    if (isMet()) return;
    if (this.#refusal) throw this.#refusal;
    if (this.#isClosed) throw closedError();
    const operation = `${wait.operation} gossip map "${this.#options.target.name}"`;
    await this.#waiters.until(isMet, { ...wait, operation });
  }

  #forgetTombstones(replica: Replica): void {
    // Without a connection, it is unknown which tombstones the server has.
    const { link } = this.#stream ?? {};
    const { mayForget = () => true } = this.#options;
    if (link) replica.forget(replica.forgettable((key) => link.has(key) && mayForget(key)));
  }
}

/** Stores the newer entries in a message of the peer at the other end of `link`. */
export function* storeEntries(
  replica: Replica,
  link: Link,
  message: Message,
): Generator<Stored, void, undefined> {
  for (const [key, value] of link.receive(message)) {
    // Copying what is not stored would only cost time.
    const stored = replica.apply(key, replica.takes(key, value) ? copyOf(value) : value);
    if (!stored) continue;
    link.knows(stored);
    yield stored;
  }
}

/** A copy with its own memory: a decoded value shares the buffer of its whole message. */
const copyOf = (value: MapValue): MapValue => fromBinary(MapValueSchema, toBinary(MapValueSchema, value));

const closedError = () => new ConnectError("the gossip map is closed", Code.Canceled);
