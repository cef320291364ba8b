import { Code, ConnectError } from "@connectrpc/connect";
import { type Backoff, jitteredMs } from "../lib/backoff.js";
import { runAfter } from "../lib/timer.js";
import { onWake } from "../lib/wake-events.js";
import type { OutgoingCall } from "./call/call.js";
import type { Stream } from "./flow/stream.js";
import { Session } from "./session.js";
import type { PeerSettings, SessionOptions } from "./session-options.js";
import type { OpenSocket } from "./socket/socket.js";
import type { TunnelLimits } from "./wire/limits.js";
import { CLOSE_CODE } from "./wire/protocol-error.js";

export interface TunnelConnectionOptions {
  /** Opens a socket to the other end; rejects where that cannot be had. */
  readonly dial: () => Promise<OpenSocket>;
  /** What the other end is called in errors, as "localhost:34904". */
  readonly host: string;
  readonly limits?: Partial<TunnelLimits> | undefined;
  /** What has to be known before a socket is dialled. */
  readonly prepare?: () => Promise<void>;
  /** Who this end is when a socket has opened. */
  readonly identity: () => SessionOptions["identity"];
  /** The other end has told its settings, at first or again. */
  readonly onSettings?: (settings: PeerSettings) => void;
  /** The other end let this one not in, or not any more, as it was. */
  readonly onRefused?: () => void;
  /** There is no session any more, or another one could not be had. */
  readonly onLost?: (error: ConnectError) => void;
  readonly answer: (session: () => Session) => SessionOptions["answer"];
  /** How long a socket that nothing uses stays open, in milliseconds. */
  readonly idleMs: number;
}

/** How long to wait before the other end is dialled again. */
const BACKOFF: Backoff = { minMs: 100, maxMs: 30_000 };

/** A session that lasted for less is no sign that all is well, in milliseconds. */
const SHORT_MS = 1000;

/** A session that said something within so many milliseconds is there. */
const JUST_HEARD_MS = 500;

/** A call that waits for the next try, in milliseconds, does so no longer. */
const MOST_WAIT_MS = 1000;

/**
 * A session with the other end whenever there is something to say: dialled with the first call, closed when idle, and
 * dialled again after it was lost. Calls that never left, or that the other end did not take, go by the next one.
 */
export class TunnelConnection {
  readonly #options: TunnelConnectionOptions;
  #session: Session | undefined;
  /** Sessions whose other end takes no more calls, with those that are still under way. */
  readonly #draining = new Set<Session>();
  #waiting: OutgoingCall[] = [];
  #isDialling = false;
  #failures = 0;
  #keep = false;
  #closed: ConnectError | undefined;
  #stopIdle: () => void = () => {};
  readonly #stopWaking: () => void;
  /** Ends the wait before the next try. */
  #wake: () => void = () => {};

  constructor(options: TunnelConnectionOptions) {
    this.#options = options;
    // A browser that is online again need not wait for its turn, and one that was away may have lost its socket.
    this.#stopWaking = onWake(() => {
      this.#hurry();
      if (this.#keep || this.#session?.isIdle === false) this.#session?.probe();
    });
  }

  /** Whether a socket is wanted although nothing calls: this end is called. */
  keepOpen(keep: boolean): void {
    this.#keep = keep;
    this.#session?.setServing(keep);
    if (keep) this.#dial();
    else if (this.#session?.isIdle) this.#whenIdle(this.#session);
  }

  /** The session as it is now, if there is one. */
  get session(): Session | undefined {
    return this.#session;
  }

  begin(call: OutgoingCall): void {
    if (this.#closed) {
      call.stream.events.onError(this.#closed);
      return;
    }
    const session = this.#session;
    if (call.needsNewSession && session && session.silentMs > JUST_HEARD_MS) this.#replace(session);
    if (this.#session?.canBeginCalls && !this.#session.isProbing) {
      this.#session.begin(call);
      return;
    }
    this.#waiting.push(call);
    this.#dial();
    this.#wake();
  }

  reset(stream: Stream, code: Code): void {
    this.#waiting = this.#waiting.filter((call) => call.stream !== stream);
    for (const session of [...this.#draining, this.#session]) {
      if (session && (stream.session === session || stream.id === 0)) session.reset(stream, code);
    }
    stream.destroy();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = new ConnectError("the transport is closed", Code.Canceled);
    this.#stopWaking();
    this.#stopIdle();
    this.#fail(this.#closed);
    for (const session of [...this.#draining, this.#session]) session?.close(CLOSE_CODE.normal, "closed");
    this.#wake();
  }

  #dial(): void {
    if (this.#isDialling || this.#session || this.#closed) return;
    this.#isDialling = true;
    void this.#try().finally(() => {
      this.#isDialling = false;
      if (!this.#session && (this.#waiting.length > 0 || this.#keep)) this.#dial();
    });
  }

  async #try(): Promise<void> {
    if (this.#failures > 0) await this.#pause(jitteredMs(BACKOFF, this.#failures));
    if (this.#closed || (this.#waiting.length === 0 && !this.#keep)) return;
    try {
      await this.#options.prepare?.();
      const open = await this.#options.dial();
      if (!this.#closed) this.#begin(open);
      else open({ onMessage() {}, onDrained() {}, onClosed() {} }).close(CLOSE_CODE.normal, "closed");
    } catch (error) {
      this.#failures++;
      this.#fail(this.#unreachable(error));
    }
  }

  #begin(open: OpenSocket): void {
    let hasSettings = false;
    const begunAtMs = Date.now();
    const session: Session = new Session(open, {
      isDialler: true,
      limits: this.#options.limits,
      identity: this.#options.identity(),
      answer: this.#options.answer(() => session),
      onSettings: (settings) => {
        hasSettings = true;
        this.#options.onSettings?.(settings);
      },
      onProbed: () => {
        if (this.#session === session) for (const call of this.#waiting.splice(0)) session.begin(call);
      },
      onBusy: (busy) => {
        // One that drains is closed by itself, and says nothing of how idle the next one is.
        if (!this.#draining.has(session)) this.#stopIdle();
        if (!busy) this.#whenIdle(session);
      },
      onGoaway: (untaken) => {
        if (this.#session === session) this.#session = undefined;
        if (Date.now() - begunAtMs >= SHORT_MS) this.#failures = 0;
        this.#draining.add(session);
        this.#again(untaken);
        if (session.isIdle) session.close(CLOSE_CODE.normal, "drained");
      },
      onClosed: (why, unsent, code) => {
        if (this.#session === session) this.#session = undefined;
        this.#draining.delete(session);
        if (!this.#session) this.#options.onLost?.(this.#unreachable(why));
        if (code === CLOSE_CODE.refused) this.#options.onRefused?.();
        if (!hasSettings || code === CLOSE_CODE.refused) {
          // It was let in and put out again: as good as not reached.
          this.#failures++;
          this.#waiting.push(...unsent);
          return this.#fail(this.#unreachable(why));
        }
        // One that comes and goes is not dialled without a pause.
        const isShort = code !== CLOSE_CODE.normal && Date.now() - begunAtMs < SHORT_MS;
        this.#failures = isShort ? this.#failures + 1 : 0;
        this.#again(unsent);
      },
    });
    this.#session = session;
    session.setServing(this.#keep);
    for (const call of this.#waiting.splice(0)) session.begin(call);
    this.#whenIdle(session);
  }

  /** Takes no more calls to `session`, which may be lost; those under way go on if it is not. */
  #replace(session: Session): void {
    this.#session = undefined;
    this.#draining.add(session);
    session.probe();
    this.#whenIdle(session);
  }

  #again(calls: OutgoingCall[]): void {
    if (this.#closed) {
      for (const { stream } of calls) stream.events.onError(this.#closed);
      return;
    }
    this.#waiting.push(...calls);
    if (this.#waiting.length > 0 || this.#keep) this.#dial();
  }

  #whenIdle(session: Session): void {
    if (!session.isIdle) return;
    if (this.#draining.has(session)) {
      session.close(CLOSE_CODE.normal, "drained");
      return;
    }
    if (this.#keep) return;
    this.#stopIdle();
    this.#stopIdle = runAfter(this.#options.idleMs, () => {
      if (session.isIdle && !this.#keep) session.close(CLOSE_CODE.normal, "idle");
    });
  }

  #fail(error: ConnectError): void {
    if (!this.#session) this.#options.onLost?.(error);
    for (const { stream } of this.#waiting.splice(0)) stream.events.onError(error);
    if (this.#keep && !this.#closed) this.#dial();
  }

  #unreachable(error: unknown): ConnectError {
    // Another try would change nothing about it.
    if (error instanceof ConnectError && error.code === Code.Unimplemented) return error;
    const why =
      error instanceof ConnectError ? error.rawMessage : error instanceof Error ? error.message : error;
    return new ConnectError(
      `cannot reach ${this.#options.host}: ${why}`,
      Code.Unavailable,
      undefined,
      undefined,
      error,
    );
  }

  /** Waits before the next try: less long where a call waits for it, and not at all when the browser comes online. */
  #pause(delayMs: number): Promise<void> {
    const startMs = Date.now();
    return new Promise((resolve) => {
      let stop = () => {};
      const end = () => {
        stop();
        this.#wake = () => {};
        resolve();
      };
      const wait = () => {
        stop();
        const isAwaited = this.#waiting.length > 0;
        const leftMs = startMs + Math.min(delayMs, isAwaited ? MOST_WAIT_MS : delayMs) - Date.now();
        // A process that waits for nothing but a call must not end before it is made.
        if (isAwaited) {
          const timer = setTimeout(end, leftMs);
          stop = () => clearTimeout(timer);
        } else {
          stop = runAfter(leftMs, end);
        }
      };
      this.#wake = () => (this.#closed ? end() : wait());
      this.#hurry = end;
      wait();
    });
  }

  #hurry: () => void = () => {};
}
