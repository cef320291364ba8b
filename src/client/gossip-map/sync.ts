import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { type MapValue, MapValueSchema, type Message } from "../../../gen/atomix/map/map_pb.js";
import { runAntiEntropy } from "../../gossip/anti-entropy.js";
import { Carrier } from "../../gossip/carrier.js";
import { Link, type LinkOptions } from "../../gossip/link.js";
import type { Replica, Stored } from "../../gossip/replica.js";
import { abortOnBreak } from "../../lib/abort-on-break.js";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import { runAfter } from "../../lib/timer.js";
import { sleep } from "../../rpc/sleep.js";
import { createTokenRefreshCheck } from "../../rpc/token-refresh.js";
import { attemptOf } from "../status/attempt.js";
import type { ConnectionStatus } from "../status/connection-status.js";
import { type Wait, Waiters, type WaitOptions } from "./waiters.js";

export interface UplinkOptions extends Omit<LinkOptions, "wake"> {
  replica: Replica;
  /** Is told how the connection is. */
  status: ConnectionStatus;
  /** Opens a stream to the server. */
  open: (messages: AsyncIterable<Message>, signal: AbortSignal) => AsyncIterable<Message>;
  antiEntropyMs: number;
  /** Called with each entry of the server that was stored. */
  onStored: (stored: Stored) => void;
  /** Called when the server has refused for good what this member is or sends. */
  onRefused: (error: ConnectError) => void;
}

const BACKOFF: Backoff = { minMs: 100, maxMs: 10_000 };

/** How often a server is compared with while nothing changes. */
const IDLE_MS = 30_000;

/** How long close() waits for the server to take what was sent last. */
const FAREWELL_MS = 2000;

/** What may be otherwise the next time. */
const PASSING = new Set([
  Code.Unavailable,
  Code.Canceled,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.ResourceExhausted,
  Code.Internal,
  Code.Unknown,
]);

/** Keeps a replica like the server's, over one stream after the other, until it is closed. */
export class Uplink {
  readonly #options: UplinkOptions;
  readonly #waiters = new Waiters();
  readonly #closing = new AbortController();
  readonly #stopTurns: () => void;
  readonly #links = new Set<Link>();
  #stream: { link: Link; carrier: Carrier; connected: boolean } | undefined;
  #refused: ConnectError | undefined;
  #closed = false;
  readonly #ended: Promise<void>;

  constructor(options: UplinkOptions) {
    this.#options = options;
    const { antiEntropyMs: everyMs, replica } = options;
    this.#stopTurns = runAntiEntropy(this.#links, {
      everyMs,
      idleMs: IDLE_MS,
      onTurn: () => this.#forget(replica),
    });
    this.#ended = this.#run();
  }

  /** Sends the entry at `key` to the server, now or once there is a connection. */
  changed(key: string): void {
    this.#stream?.link.changed(key);
  }

  /** Resolves once everything that the server has is here. Rejects where it cannot be reached. */
  caughtUp(options: WaitOptions): Promise<void> {
    const met = () => this.#stream?.link.caughtUp ?? false;
    return this.#wait(met, { ...options, what: "Cannot open", patient: false });
  }

  /** Resolves once the server has everything that is here now, however often the connection is lost until then. */
  synced(options: WaitOptions): Promise<void> {
    const { revision } = this.#options.replica;
    const met = () => this.#stream?.link.hasAll(revision) ?? false;
    const synced = this.#wait(met, { ...options, what: "Cannot confirm", patient: true });
    this.#confirmForWaiters();
    return synced;
  }

  /** Sends what waits, then ends the stream. Idempotent. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#stopTurns();
      this.#stream?.carrier.finish();
      const cut = () => this.#closing.abort();
      if (!this.#stream?.connected) cut();
      const keep = runAfter(FAREWELL_MS, cut);
      void this.#ended.then(keep);
      this.#waiters.reject(closed());
    }
    return this.#ended;
  }

  async #run(): Promise<void> {
    const mayRenew = createTokenRefreshCheck();
    for (let failures = 1; !this.#closed; failures++) {
      const beganMs = Date.now();
      const error = await this.#session();
      if (this.#closed) return;
      if (mayRenew(error)) continue;
      // A stream that fails soon each time, from a full map for instance, is not to be opened all the time.
      if (Date.now() - beganMs > BACKOFF.maxMs) failures = 1;
      const refused = !PASSING.has(error.code);
      this.#options.status.disconnected(error);
      const evenPatient = refused || error.code === Code.ResourceExhausted;
      this.#waiters.reject(error, { evenPatient });
      if (refused) {
        this.#refused = error;
        this.#stopTurns();
        this.#options.onRefused(error);
        return;
      }
      const attempt = attemptOf(this.#options.status, this.#closing.signal);
      await sleep(jitteredMs(BACKOFF, failures), attempt.signal).catch(() => {});
      attempt.release();
    }
  }

  /** One stream, from its beginning to its end. Returns what ended it. */
  async #session(): Promise<ConnectError> {
    const { replica, open, status, ...options } = this.#options;
    const carrier = new Carrier();
    const link = new Link(replica, { ...options, wake: carrier.wake });
    carrier.add(link);
    // What was written while there was no stream is found by comparing.
    link.advertise();
    this.#links.add(link);
    const stream = { link, carrier, connected: false };
    this.#stream = stream;
    const opened = (signal: AbortSignal) => open(carrier.messages(), signal);
    const attempt = attemptOf(status, this.#closing.signal);
    try {
      for await (const message of abortOnBreak(opened, attempt.signal)) {
        stream.connected = true;
        status.connected();
        this.#receive(link, message);
      }
      return new ConnectError("the server ended the stream", Code.Unavailable);
    } catch (error) {
      return ConnectError.from(error);
    } finally {
      attempt.release();
      carrier.leave();
      this.#links.delete(link);
      this.#stream = undefined;
    }
  }

  #receive(link: Link, message: Message): void {
    const { replica, target, onStored } = this.#options;
    if (message.target?.name !== target.name || message.target.namespace !== target.namespace) return;
    const rounds = link.rounds;
    for (const [key, value] of link.receive(message)) {
      const stored = replica.takes(key, value) && replica.apply(key, detached(value));
      if (!stored) continue;
      link.knows(stored);
      onStored(stored);
    }
    this.#waiters.check();
    // The server's round may have crossed what it was to confirm: another one will do.
    if (link.rounds > rounds) runAfter(this.#options.flushMs, () => this.#confirmForWaiters());
  }

  #confirmForWaiters(): void {
    if (this.#waiters.anyPatient) this.#stream?.link.confirm();
  }

  async #wait(met: () => boolean, wait: Wait): Promise<void> {
    if (met()) return;
    if (this.#refused) throw this.#refused;
    if (this.#closed) throw closed();
    await this.#waiters.until(met, {
      ...wait,
      what: `${wait.what} gossip map "${this.#options.target.name}"`,
    });
  }

  #forget(replica: Replica): void {
    // Without a connection it cannot be known what the server has.
    const { link } = this.#stream ?? {};
    if (link) replica.forget(replica.forgettable((key) => link.has(key)));
  }
}

/** A copy of its own: what is decoded from a message shares the memory of all of it. */
const detached = (value: MapValue): MapValue => fromBinary(MapValueSchema, toBinary(MapValueSchema, value));

const closed = () => new ConnectError("the gossip map is closed", Code.Canceled);
