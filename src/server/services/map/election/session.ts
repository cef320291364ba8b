import type { Environment } from "../../../../gossip/environment.js";
import type { Entry, KeyStore } from "../../../engine.js";
import { randomIdFrom } from "./random-id-from.js";
import { decodeSession, encodeSession, type SessionRecord, sessionKey } from "./records.js";

export interface ElectionSessionOptions {
  /** The electing engine's keys. */
  keys: KeyStore;
  group: string;
  url: string;
  copy: string;
  leaseMs: number;
  state: "live" | "draining";
  environment: Environment;
  /** Called after each write with the entry as it is now. */
  onWritten: (entry: Entry) => void;
  /** Called when another server has ended the session. This one must not serve by it any more. */
  onEnded: () => void;
  /** Called when the lease has passed without a renewal. A later renewal may succeed. */
  onLapsed: () => void;
}

/** The part of the lease for which its holder relies on it. The rest is for clocks of different rates. */
const HOLDER_SHARE = 0.8;

/** How often a lease is renewed within its duration. */
const RENEWALS = 4;

/** How long the remains of a session are kept, in leases and at least in milliseconds. */
const REMAINS_LEASES = 10;
const REMAINS_MS = 60_000;

/**
 * A server's session in the electing engine: one leased key, which its holder writes again and again on the condition
 * that nobody else has. Others end it by a write of the version that they have seen unchanged for the whole lease.
 */
export class ElectionSession {
  readonly id: string;
  readonly #options: ElectionSessionOptions;
  #state: SessionRecord["state"];
  #version = 0n;
  /** When the last successful write was sent, by both clocks; undefined: there was none. */
  #sentAt: { monotonicMs: number; wallMs: number } | undefined;
  #isOver = false;
  #stopTimer = () => {};
  #stopLapseTimer = () => {};
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: ElectionSessionOptions) {
    this.#options = options;
    this.#state = options.state;
    this.id = randomIdFrom(options.environment.random);
  }

  /** Whether no other server can lead what this session leads, by the clocks of this machine. */
  isValid(): boolean {
    if (this.#isOver || !this.#sentAt) return false;
    const { monotonicMs, nowMs } = this.#options.environment;
    const { leaseMs } = this.#options;
    // The monotonic clock stands still while the machine is suspended, and the wall clock may be set.
    const elapsedMs = Math.max(monotonicMs() - this.#sentAt.monotonicMs, nowMs() - this.#sentAt.wallMs);
    return elapsedMs < leaseMs * HOLDER_SHARE;
  }

  /** Opens the session and renews it from then on. Rejects if the engine is away. */
  async open(): Promise<void> {
    await this.#write();
    this.#schedule();
  }

  /** Tells the others that this server drains. */
  async drain(): Promise<void> {
    if (this.#state === "live") this.#state = "draining";
    await this.#write();
  }

  /** Ends the session. The others take over at once. */
  async end(): Promise<void> {
    this.stop();
    this.#state = "ended";
    await this.#write();
  }

  /** Stops renewing it. The session ends for the others after its lease. */
  stop(): void {
    this.#isOver = true;
    this.#stopTimer();
    this.#stopLapseTimer();
  }

  #schedule(): void {
    if (this.#isOver) return;
    const { environment, leaseMs } = this.#options;
    this.#stopTimer = environment.after(leaseMs / RENEWALS, () => {
      // A failed write is retried at the next renewal: the engine itself waits for its cluster.
      void this.#write()
        .catch(() => {})
        .finally(() => this.#schedule());
    });
  }

  /** One write at a time, so that the version of each is known to the next one. */
  #write(): Promise<void> {
    const written = this.#writing.then(() => this.#writeOnce());
    this.#writing = written.catch(() => {});
    return written;
  }

  async #writeOnce(): Promise<void> {
    const { keys, group, url, copy, leaseMs, environment } = this.#options;
    const key = sessionKey(group, this.id);
    const value = encodeSession({ url, copy, leaseMs, state: this.#state });
    const ttlMs = Math.max(REMAINS_MS, REMAINS_LEASES * leaseMs);
    for (;;) {
      if (this.#isOver && this.#state !== "ended") return;
      const sentAt = { monotonicMs: environment.monotonicMs(), wallMs: environment.nowMs() };
      const commit = await keys.commit([{ type: "set", key, value, ifVersion: this.#version, ttlMs }]);
      if ("version" in commit) {
        this.#version = commit.version;
        if (this.#state !== "ended") this.#extend(sentAt);
        this.#options.onWritten({ key, value, version: commit.version });
        return;
      }
      const { actual } = commit;
      if (!actual || decodeSession(actual.value).state === "ended") return this.#onEnded();
      // Only this server writes such a value: an earlier write of unknown outcome has succeeded.
      this.#version = actual.version;
    }
  }

  #extend(sentAt: { monotonicMs: number; wallMs: number }): void {
    const { environment, leaseMs, onLapsed } = this.#options;
    this.#sentAt = sentAt;
    this.#stopLapseTimer();
    const remainingMs = leaseMs * HOLDER_SHARE - (environment.monotonicMs() - sentAt.monotonicMs);
    this.#stopLapseTimer = environment.after(Math.max(0, remainingMs) + 1, () => {
      if (!this.#isOver && !this.isValid()) onLapsed();
    });
  }

  #onEnded(): void {
    if (this.#state === "ended") return;
    this.stop();
    this.#options.onEnded();
  }
}
