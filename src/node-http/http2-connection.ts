import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { SecureContextOptions } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import { runAfter } from "../lib/timer.js";
import { SERVER_HEADER } from "../rpc/extension-headers.js";
import { openWindow, WINDOW_BYTES } from "./flow-window.js";
import { NO_BOUND_MB } from "./session-memory.js";

/** When a connection is taken for lost, in milliseconds. */
export interface Keepalive {
  /** How long connecting may take: TCP, TLS and the peer's SETTINGS together. */
  dialMs: number;
  /** After how much silence a Fairlead server is pinged while calls are open. */
  silenceMs: number;
  /** The same for other servers: some take frequent pings for an attack. */
  foreignSilenceMs: number;
  /** How long the answer to such a ping may take. */
  answerMs: number;
  /** How long the answer may take where something points to a loss already. */
  probeMs: number;
  /** After how long without a call the connection is closed. */
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

/** How often a connection with open calls is looked at: a whole number of these is the precision of `silenceMs`. */
const TICK_MS = 1000;

export interface ConnectionOptions {
  authority: string;
  keepalive: Keepalive;
  tls: SecureContextOptions | undefined;
  /** A call has ended, or the peer takes another number of them. */
  onRoom(): void;
  /** It takes no more calls: it was lost, closed, or the peer is leaving. */
  onLeaving(why: "closed" | "pinged too often"): void;
  /** It is gone, and its calls with it. */
  onClosed(): void;
}

/** One HTTP/2 connection: which calls it takes, and whether the peer is still there. */
export class Http2Connection {
  /** Resolves when the peer has sent its SETTINGS; rejects where that is not to be had. */
  readonly ready: Promise<void>;
  readonly #session: ClientHttp2Session;
  readonly #options: ConnectionOptions;
  #isLeaving = false;
  #calls = 0;
  #isFairlead = false;
  /** Whether the peer has answered a call or a PING. */
  #hasAnswered = false;
  readonly #heldBodies: (() => void)[] = [];
  #heardBytes = 0;
  #heardAtMs = performance.now();
  #probing: Promise<void> | undefined;
  #stopTicks = () => {};
  #stopIdle = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const session = connect(options.authority, {
      ...options.tls,
      settings: { initialWindowSize: WINDOW_BYTES },
      maxSessionMemory: NO_BOUND_MB,
    });
    this.#session = session;
    this.ready = this.#dialled(options.keepalive.dialMs);
    // Whoever waits for it is told; later failures are those of its calls.
    this.ready.catch(() => {});
    session.on("error", () => {});
    session.on("close", () => {
      this.#stopTicks();
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

  /** Whether it was silent for so long that a call should not rely on it. */
  get isDoubtful(): boolean {
    this.#look();
    return performance.now() - this.#heardAtMs >= this.#options.keepalive.foreignSilenceMs;
  }

  /** How long nothing was heard, in milliseconds. */
  get silentMs(): number {
    this.#look();
    return performance.now() - this.#heardAtMs;
  }

  /** The probe under way, if there is one; resolves in any case. */
  get probing(): Promise<void> | undefined {
    return this.#probing;
  }

  request(headers: Record<string, unknown>): ClientHttp2Stream {
    const stream = this.#session.request(headers as never, {});
    this.#opened(stream);
    return stream;
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

  /** Takes no more calls; those under way go on. */
  leave(): void {
    this.#leave("closed");
  }

  /** Asks whether the peer is there, which it has to answer soon; else all calls fail. One question at a time. */
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
      // A call waits for it, which keeps the process alive.
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

  #opened(stream: ClientHttp2Stream): void {
    if (this.#calls++ === 0) {
      this.#session.ref();
      this.#stopIdle();
      this.#watch();
    }
    this.#look();
    const heardBytes = this.#heardBytes;
    const openedAtMs = performance.now();
    stream.once("response", (headers) => {
      this.#isFairlead ||= headers[SERVER_HEADER] !== undefined;
      this.#answered();
    });
    stream.once("close", () => {
      this.#calls--;
      if (this.#calls === 0) this.#ended();
      this.#look();
      // A call that waited in vain while nothing else came either: perhaps nobody is there any more.
      const isSilent = this.#heardBytes === heardBytes && performance.now() - openedAtMs >= TICK_MS;
      if (isSilent) void this.probe();
      this.#options.onRoom();
    });
  }

  #answered(): void {
    if (this.#hasAnswered) return;
    this.#hasAnswered = true;
    for (const send of this.#heldBodies.splice(0)) send();
  }

  /** The last of its calls is over. */
  #ended(): void {
    this.#stopTicks();
    if (this.#session.destroyed) return;
    // An idle connection keeps no process alive.
    this.#session.unref();
    if (this.#isLeaving) this.#session.close();
    else this.#whenIdle();
  }

  /** Notes whether bytes have come since the last look. */
  #look(): void {
    const { socket, destroyed } = this.#session;
    const bytes = destroyed ? this.#heardBytes : socket.bytesRead;
    if (bytes === this.#heardBytes) return;
    this.#heardBytes = bytes;
    this.#heardAtMs = performance.now();
  }

  #watch(): void {
    const { silenceMs, foreignSilenceMs, answerMs } = this.#options.keepalive;
    const tickMs = Math.min(TICK_MS, silenceMs);
    this.#stopTicks = runAfter(tickMs, () => {
      if (this.silentMs >= (this.#isFairlead ? silenceMs : foreignSilenceMs)) void this.probe(answerMs);
      this.#watch();
    });
  }

  #whenIdle(): void {
    this.#stopIdle();
    this.#stopIdle = runAfter(this.#options.keepalive.idleMs, () => this.leave());
  }

  #ping(answerMs: number): Promise<void> {
    const session = this.#session;
    return new Promise((resolve) => {
      if (session.destroyed) return resolve();
      this.#look();
      const heardBytes = this.#heardBytes;
      const stop = runAfter(answerMs, () => {
        this.#look();
        // Anything that came is an answer, also where the pong waits behind a large one.
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
    this.#stopIdle();
    if (this.#calls === 0 && !this.#session.connecting) this.#ended();
    this.#options.onLeaving(why);
  }
}
