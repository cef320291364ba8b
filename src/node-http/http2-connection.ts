import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import type { Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import { runAfter } from "../lib/timer.js";
import { SERVER_HEADER } from "../rpc/extension-headers.js";
import { openWindow, WINDOW_BYTES } from "./flow-window.js";
import { UNLIMITED_SESSION_MB } from "./session-memory.js";

/** When a connection counts as lost, in milliseconds. */
export interface Keepalive {
  /** How long connecting may take: TCP, TLS and the peer's SETTINGS together. */
  dialMs: number;
  /** The silence after which a Fairlead server gets a PING while calls are open. */
  silenceMs: number;
  /** The same for other servers: some treat frequent PINGs as an attack. */
  foreignSilenceMs: number;
  /** How long the answer to such a PING may take. */
  answerMs: number;
  /** How long the answer may take if the connection seems to be lost already. */
  probeMs: number;
  /** How long a connection without calls is kept. */
  idleMs: number;
}

export const KEEPALIVE: Readonly<Keepalive> = {
  dialMs: 10_000,
  silenceMs: 4000,
  foreignSilenceMs: 25_000,
  answerMs: 3000,
  probeMs: 2000,
  idleMs: 15 * 60_000,
};

/** How often a connection with open calls is checked: the precision of `silenceMs`. */
const TICK_MS = 1000;

export interface ConnectionOptions {
  authority: string;
  keepalive: Keepalive;
  tls: SecureContextOptions | undefined;
  /** Runs when a call has ended, or the peer has changed the limit on calls. */
  onRoom(): void;
  /** Runs when it takes no more calls: it was lost or closed, or the peer sent GOAWAY. */
  onLeaving(why: "closed" | "pinged too often"): void;
  /** Runs when it is closed, and all of its calls have ended. */
  onClosed(): void;
}

/** A stream, and what had been received when it was opened. */
export interface OpenCall {
  readonly stream: ClientHttp2Stream;
  readonly heardBytes: number;
  readonly openedAtMs: number;
}

/** One HTTP/2 connection: which calls it takes, and whether the peer is still there. */
export class Http2Connection {
  /** Resolves when the peer has sent its SETTINGS; rejects if the connection fails before. */
  readonly ready: Promise<void>;
  readonly #session: ClientHttp2Session;
  readonly #options: ConnectionOptions;
  #socket: Pick<Socket, "bytesRead"> | undefined;
  #isLeaving = false;
  #calls = 0;
  #isFairlead = false;
  /** Whether the peer has answered a call or a PING. */
  #hasAnswered = false;
  readonly #heldBodies: (() => void)[] = [];
  #heardBytes = 0;
  #heardAtMs = performance.now();
  #probing: Promise<void> | undefined;
  /** The timers of one call serve the next one, too: a call should not need its own. */
  #stopTicks: (() => void) | undefined;
  #stopIdle: (() => void) | undefined;
  #idleSinceMs = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const session = connect(options.authority, {
      ...options.tls,
      settings: { initialWindowSize: WINDOW_BYTES },
      maxSessionMemory: UNLIMITED_SESSION_MB,
    });
    this.#session = session;
    this.ready = this.#dialled(options.keepalive.dialMs);
    // Callers that wait for it see the rejection; later failures are those of their calls.
    this.ready.catch(() => {});
    // The session's own `socket` is a proxy, which takes longer than all else that each call asks of it.
    session.once("connect", (_session, socket) => {
      this.#socket = socket;
    });
    session.on("error", () => {});
    session.on("close", () => {
      this.#stopTicks?.();
      this.leave();
      options.onClosed();
    });
    session.on("goaway", (_code, _last, data?: NodeJS.ArrayBufferView) => {
      const reason = data && Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
      this.#leave(reason === "too_many_pings" ? "pinged too often" : "closed");
    });
    session.on("remoteSettings", () => options.onRoom());
  }

  /** Whether a further call may begin now. */
  get hasRoom(): boolean {
    const most = this.#session.remoteSettings?.maxConcurrentStreams ?? Number.POSITIVE_INFINITY;
    return this.takesCalls && this.#calls < most;
  }

  /** Whether calls may begin, now or when others have ended. */
  get takesCalls(): boolean {
    return !this.#isLeaving && !this.#session.closed && !this.#session.destroyed;
  }

  /** Whether it has been silent for so long that a call needs a probe first. */
  get isDoubtful(): boolean {
    this.#look();
    return performance.now() - this.#heardAtMs >= this.#options.keepalive.foreignSilenceMs;
  }

  /** How long nothing has been received, in milliseconds. */
  get silentMs(): number {
    this.#look();
    return performance.now() - this.#heardAtMs;
  }

  /** The probe under way, if there is one. It never rejects. */
  get probing(): Promise<void> | undefined {
    return this.#probing;
  }

  request(headers: Record<string, unknown>): ClientHttp2Stream {
    const call = this.open(headers);
    call.stream.once("response", (response) => this.noteResponse(response));
    call.stream.once("close", () => this.noteClose(call));
    return call.stream;
  }

  /** Opens a stream whose response and close its caller reports, by noteResponse() and noteClose(). */
  open(headers: Record<string, unknown>): OpenCall {
    const stream = this.#session.request(headers as never, {});
    if (this.#calls++ === 0) {
      this.#session.ref();
      this.#watch();
    }
    this.#look();
    return { stream, heardBytes: this.#heardBytes, openedAtMs: performance.now() };
  }

  noteResponse(headers: IncomingHttpHeaders): void {
    this.#isFairlead ||= headers[SERVER_HEADER] !== undefined;
    this.#answered();
  }

  noteClose({ heardBytes, openedAtMs }: OpenCall): void {
    this.#calls--;
    if (this.#calls === 0) this.#ended();
    this.#look();
    // The call got nothing, and nothing else was received meanwhile: the peer may be gone.
    const isSilent = this.#heardBytes === heardBytes && performance.now() - openedAtMs >= TICK_MS;
    if (isSilent) void this.probe();
    this.#options.onRoom();
  }

  /**
   * Sends the request of a stream that request() has opened: at once, except on a new connection that has other calls
   * already and has not answered anything. Node's servers that send GOAWAY while they read one stream still process the
   * others that came with the same packet, although GOAWAY says that they do not, and those would be sent again.
   */
  send(stream: ClientHttp2Stream, body: Uint8Array): void {
    if (this.#hasAnswered || this.#calls === 1) {
      stream.end(body);
      return;
    }
    if (this.#heldBodies.length === 0) this.#session.ping(() => this.#answered());
    this.#heldBodies.push(() => {
      if (!stream.closed && !stream.destroyed) stream.end(body);
    });
  }

  /** Takes no more calls; those under way continue. */
  leave(): void {
    this.#leave("closed");
  }

  /** Sends a PING, unless one is under way: without an answer in time all calls fail. */
  probe(answerMs = this.#options.keepalive.probeMs): Promise<void> {
    this.#probing ??= this.#ping(answerMs).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  /** Fails all calls with `error`. Idempotent. */
  destroy(error: ConnectError): void {
    this.leave();
    if (!this.#session.destroyed) this.#session.destroy(error, constants.NGHTTP2_CANCEL);
  }

  #dialled(dialMs: number): Promise<void> {
    const session = this.#session;
    return new Promise((resolve, reject) => {
      // The timer keeps the process alive: a call waits for the connection.
      const late = setTimeout(() => {
        fail(new ConnectError(`no HTTP/2 connection within ${dialMs} ms`, Code.Unavailable));
      }, dialMs);
      const fail = (error: unknown) => {
        clearTimeout(late);
        reject(error);
        if (!session.destroyed) session.destroy();
      };
      session.once("error", fail);
      session.once("close", () => fail(new ConnectError("the connection was closed", Code.Unavailable)));
      session.once("remoteSettings", () => {
        clearTimeout(late);
        session.removeListener("error", fail);
        openWindow(session);
        this.#look();
        this.#ended();
        resolve();
      });
    });
  }

  #answered(): void {
    if (this.#hasAnswered) return;
    this.#hasAnswered = true;
    for (const send of this.#heldBodies.splice(0)) send();
  }

  /** Runs when its last call has ended. */
  #ended(): void {
    if (this.#session.destroyed) return;
    // An idle connection keeps no process alive.
    this.#session.unref();
    if (this.#isLeaving) {
      this.#session.close();
      return;
    }
    this.#idleSinceMs = performance.now();
    if (!this.#stopIdle) this.#leaveWhenIdle(this.#options.keepalive.idleMs);
  }

  /** Notes whether bytes have been received since the last check. */
  #look(): void {
    const bytes = this.#socket?.bytesRead ?? 0;
    if (bytes === this.#heardBytes) return;
    this.#heardBytes = bytes;
    this.#heardAtMs = performance.now();
  }

  #watch(): void {
    if (this.#stopTicks) return;
    const { silenceMs, foreignSilenceMs, answerMs } = this.#options.keepalive;
    const tickMs = Math.min(TICK_MS, silenceMs);
    this.#stopTicks = runAfter(tickMs, () => {
      this.#stopTicks = undefined;
      if (this.#calls === 0) return;
      if (this.silentMs >= (this.#isFairlead ? silenceMs : foreignSilenceMs)) void this.probe(answerMs);
      this.#watch();
    });
  }

  #leaveWhenIdle(delayMs: number): void {
    this.#stopIdle = runAfter(delayMs, () => {
      this.#stopIdle = undefined;
      if (this.#calls > 0) return;
      const remainingMs = this.#idleSinceMs + this.#options.keepalive.idleMs - performance.now();
      if (remainingMs <= 0) this.leave();
      else this.#leaveWhenIdle(remainingMs);
    });
  }

  #ping(answerMs: number): Promise<void> {
    const session = this.#session;
    return new Promise((resolve) => {
      if (session.destroyed) return resolve();
      this.#look();
      const heardBytes = this.#heardBytes;
      const stop = runAfter(answerMs, () => {
        this.#look();
        // Any received bytes are an answer: the PONG may wait behind a large message.
        if (this.#heardBytes === heardBytes) {
          const why = `the connection was lost: nothing was heard for ${Math.round(this.silentMs)} ms`;
          this.destroy(new ConnectError(why, Code.Unavailable));
        }
        resolve();
      });
      const sent = session.ping(() => {
        stop();
        this.#look();
        resolve();
      });
      if (!sent) {
        stop();
        resolve();
      }
    });
  }

  #leave(why: "closed" | "pinged too often"): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#stopIdle?.();
    if (this.#calls === 0 && !this.#session.connecting) this.#ended();
    this.#options.onLeaving(why);
  }
}
