import { Code, ConnectError } from "@connectrpc/connect";
import { Alarm } from "../lib/alarm.js";
import { type Backoff, jitteredMs } from "../lib/backoff.js";
import { onWake } from "../lib/wake-events.js";
import type { Channel, OutgoingCall } from "./call/call.js";
import { DialPause } from "./connection/dial-pause.js";
import type { Stream } from "./flow/stream.js";
import type { AnswerCall, SessionOptions } from "./session/options.js";
import type { PeerSettings } from "./session/peer.js";
import { Session } from "./session.js";
import type { OpenSocket } from "./socket/socket.js";
import type { TunnelLimits } from "./wire/limits.js";
import { CLOSE_CODE } from "./wire/protocol-error.js";

export interface TunnelConnectionOptions {
  /** Opens a socket to the other end. Rejects if that fails. */
  readonly dial: () => Promise<OpenSocket>;
  /** The other end's name in errors, as "localhost:34904". */
  readonly host: string;
  readonly limits?: Partial<TunnelLimits> | undefined;
  /** Runs before each dial. */
  readonly prepare?: () => Promise<void>;
  /** Who this end is; called for each session. */
  readonly identity: () => SessionOptions["identity"];
  /** The other end has sent SETTINGS, the first or later ones. */
  readonly onSettings?: (settings: PeerSettings) => void;
  /** The other end does not admit this one, at first or any more. */
  readonly onRefused?: () => void;
  /** The session was lost, or could not be opened. */
  readonly onLost?: (error: ConnectError) => void;
  readonly answer: (session: () => Session) => AnswerCall;
  /** How long a session stays open without calls, in milliseconds. */
  readonly idleMs: number;
}

/** The pauses between dials. */
const BACKOFF: Backoff = { minMs: 100, maxMs: 30_000 };

/** A session that lasted for less counts as a failed dial, in milliseconds. */
const SHORT_SESSION_MS = 1000;

/** A retried call may use a session that received something within so many milliseconds. */
const RECENTLY_RECEIVED_MS = 500;

/** One session, and what is known of it. */
interface SessionState {
  readonly session: Session;
  readonly openedAtMs: number;
  hasSettings: boolean;
}

/**
 * A channel that keeps a session with the other end whenever it is needed: dials for the first call, closes when idle,
 * and dials again after a loss. Calls that were never sent, or not accepted, are made again on the next session.
 */
export class TunnelConnection implements Channel {
  readonly #options: TunnelConnectionOptions;
  #session: Session | undefined;
  /** Sessions that take no new calls, and are closed with the last of their open ones. */
  readonly #draining = new Set<Session>();
  #waiting: OutgoingCall[] = [];
  #isDialling = false;
  #failures = 0;
  #isKeptOpen = false;
  #closed: ConnectError | undefined;
  #idleSinceMs = 0;
  readonly #idleAlarm = new Alarm(() => this.#closeIdle());
  readonly #stopWakeEvents: () => void;
  readonly #pause = new DialPause(() => this.#waiting.length > 0);

  constructor(options: TunnelConnectionOptions) {
    this.#options = options;
    // A browser that is online again dials at once; one that was suspended may have lost its socket.
    this.#stopWakeEvents = onWake(() => {
      this.#pause.end();
      if (this.#isKeptOpen || this.#session?.isIdle === false) this.#session?.probe();
    });
  }

  /** Sets whether a session is kept open without calls, because this end is called. */
  keepOpen(keep: boolean): void {
    this.#isKeptOpen = keep;
    this.#session?.setServing(keep);
    if (keep) this.#dial();
    else if (this.#session?.isIdle) this.#startIdleTimer(this.#session);
  }

  /** The open session, if there is one. */
  get session(): Session | undefined {
    return this.#session;
  }

  begin(call: OutgoingCall): void {
    if (this.#closed) {
      call.stream.events.onError(this.#closed);
      return;
    }
    const session = this.#session;
    if (call.needsNewSession && session && session.heartbeat.silentMs > RECENTLY_RECEIVED_MS)
      this.#replace(session);
    if (this.#session?.canBeginCalls && !this.#session.heartbeat.isProbing) {
      this.#session.begin(call);
      return;
    }
    this.#waiting.push(call);
    this.#dial();
    this.#pause.update();
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
    this.#stopWakeEvents();
    this.#idleAlarm.stop();
    this.#fail(this.#closed);
    for (const session of [...this.#draining, this.#session]) session?.close(CLOSE_CODE.normal, "closed");
    this.#pause.end();
  }

  get #needsSession(): boolean {
    return this.#waiting.length > 0 || this.#isKeptOpen;
  }

  #dial(): void {
    if (this.#isDialling || this.#session || this.#closed) return;
    this.#isDialling = true;
    void this.#dialOnce().finally(() => {
      this.#isDialling = false;
      if (!this.#session && this.#needsSession) this.#dial();
    });
  }

  async #dialOnce(): Promise<void> {
    if (this.#failures > 0) await this.#pause.wait(jitteredMs(BACKOFF, this.#failures));
    if (this.#closed || !this.#needsSession) return;
    try {
      await this.#options.prepare?.();
      const open = await this.#options.dial();
      if (!this.#closed) this.#openSession(open);
      else open(NO_EVENTS).close(CLOSE_CODE.normal, "closed");
    } catch (error) {
      this.#failures++;
      this.#fail(this.#unreachable(error));
    }
  }

  #openSession(open: OpenSocket): void {
    const session: Session = new Session(open, {
      isDialler: true,
      limits: this.#options.limits,
      identity: this.#options.identity(),
      answer: this.#options.answer(() => session),
      onSettings: (settings) => {
        state.hasSettings = true;
        this.#options.onSettings?.(settings);
      },
      onProbed: () => {
        if (this.#session === session) this.#beginWaiting(session);
      },
      onBusy: () => this.#startIdleTimer(session),
      onGoaway: (unaccepted) => this.#onGoaway(state, unaccepted),
      onClosed: (error, unsent, code) => this.#onClosed(state, error, unsent, code),
    });
    const state: SessionState = { session, openedAtMs: Date.now(), hasSettings: false };
    this.#session = session;
    session.setServing(this.#isKeptOpen);
    this.#beginWaiting(session);
    this.#startIdleTimer(session);
  }

  #beginWaiting(session: Session): void {
    for (const call of this.#waiting.splice(0)) session.begin(call);
  }

  #onGoaway({ session, openedAtMs }: SessionState, unaccepted: OutgoingCall[]): void {
    if (this.#session === session) this.#session = undefined;
    if (Date.now() - openedAtMs >= SHORT_SESSION_MS) this.#failures = 0;
    this.#draining.add(session);
    this.#beginAgain(unaccepted);
    if (session.isIdle) session.close(CLOSE_CODE.normal, "drained");
  }

  #onClosed(
    { session, openedAtMs, hasSettings }: SessionState,
    error: ConnectError,
    unsent: OutgoingCall[],
    code: number,
  ): void {
    if (this.#session === session) this.#session = undefined;
    this.#draining.delete(session);
    if (!this.#session) this.#options.onLost?.(this.#unreachable(error));
    if (code === CLOSE_CODE.refused) this.#options.onRefused?.();
    if (!hasSettings || code === CLOSE_CODE.refused) {
      // The socket was accepted and closed again: that counts as a failed dial.
      this.#failures++;
      this.#waiting.push(...unsent);
      this.#fail(this.#unreachable(error));
      return;
    }
    const isShort = code !== CLOSE_CODE.normal && Date.now() - openedAtMs < SHORT_SESSION_MS;
    this.#failures = isShort ? this.#failures + 1 : 0;
    this.#beginAgain(unsent);
  }

  /** Begins no more calls on `session`, which may be lost; its open calls go on if it is not. */
  #replace(session: Session): void {
    this.#session = undefined;
    this.#draining.add(session);
    session.probe();
    this.#startIdleTimer(session);
  }

  #beginAgain(calls: OutgoingCall[]): void {
    if (this.#closed) {
      for (const { stream } of calls) stream.events.onError(this.#closed);
      return;
    }
    this.#waiting.push(...calls);
    if (this.#needsSession) this.#dial();
  }

  /** Closes an idle session after `idleMs`; at once if it is draining. */
  #startIdleTimer(session: Session): void {
    if (!session.isIdle) return;
    if (this.#draining.has(session)) {
      session.close(CLOSE_CODE.normal, "drained");
      return;
    }
    this.#idleSinceMs = performance.now();
    this.#idleAlarm.ring(this.#options.idleMs);
  }

  /** Closes the session if it has been idle for `idleMs`. */
  #closeIdle(): void {
    if (!this.#session?.isIdle || this.#isKeptOpen) return;
    const idleMs = performance.now() - this.#idleSinceMs;
    if (idleMs < this.#options.idleMs) this.#idleAlarm.ring(this.#options.idleMs - idleMs);
    else this.#session.close(CLOSE_CODE.normal, "idle");
  }

  #fail(error: ConnectError): void {
    if (!this.#session) this.#options.onLost?.(error);
    for (const { stream } of this.#waiting.splice(0)) stream.events.onError(error);
    if (this.#isKeptOpen && !this.#closed) this.#dial();
  }

  #unreachable(error: unknown): ConnectError {
    // Unimplemented is permanent: no WebSocket in this runtime.
    if (error instanceof ConnectError && error.code === Code.Unimplemented) return error;
    const reason =
      error instanceof ConnectError ? error.rawMessage : error instanceof Error ? error.message : error;
    return new ConnectError(
      `cannot reach ${this.#options.host}: ${reason}`,
      Code.Unavailable,
      undefined,
      undefined,
      error,
    );
  }
}

const NO_EVENTS = { onMessage() {}, onDrained() {}, onClosed() {} };
