import { Code, ConnectError } from "@connectrpc/connect";
import { IncomingCalls } from "./answer/incoming-calls.js";
import type { Channel, OutgoingCall } from "./call/call.js";
import { OutgoingCalls } from "./call/outgoing-calls.js";
import { ReceiveWindow } from "./flow/receive-window.js";
import { Sender } from "./flow/sender.js";
import type { Stream, StreamSession } from "./flow/stream.js";
import { StreamTable } from "./flow/stream-table.js";
import { Heartbeat } from "./heartbeat.js";
import { addCredit, FrameRouter } from "./session/frame-router.js";
import type { SessionOptions } from "./session/options.js";
import { DEFAULT_PEER_SETTINGS, Peer, type PeerSettings } from "./session/peer.js";
import { closeReason, LOW_WATER_BYTES, type OpenSocket, type Socket } from "./socket/socket.js";
import type { CallStatus, HeaderList, Settings } from "./wire/frame.js";
import { checkHeaderSize, fitStatus } from "./wire/frame-limits.js";
import { maxMessageBytes, TUNNEL_LIMITS, type TunnelLimits } from "./wire/limits.js";
import { MethodNumbers } from "./wire/method-numbers.js";
import { CLOSE_CODE, ProtocolError } from "./wire/protocol-error.js";
import { type FrameLimits, readFrames, startsWithSettings } from "./wire/read-frame.js";
import {
  writeCredit,
  writeEnd,
  writeGoaway,
  writeHeaders,
  writePing,
  writeReset,
  writeSettings,
  writeStatus,
} from "./wire/write-frame.js";

/** The most bytes of a frame: enough for a piece of a message, a header list or a status. */
const MAX_FRAME_BYTES = 256 * 1024;

/**
 * Many calls in both directions over one socket: frames, flow control and round robin. It does not know what calls
 * mean: caller.ts and dispatcher.ts do.
 */
export class Session implements StreamSession, Channel {
  readonly limits: TunnelLimits;
  /** How long nothing was received, and whether the connection is being probed. */
  readonly heartbeat: Heartbeat;
  readonly #options: SessionOptions;
  readonly #frameLimits: FrameLimits;
  readonly #socket: Socket;
  readonly #sender: Sender;
  readonly #router: FrameRouter;
  readonly #receiveWindow: ReceiveWindow;
  readonly #streams: StreamTable;
  readonly #outgoing: OutgoingCalls;
  readonly #incoming: IncomingCalls;
  readonly #peer = new Peer();
  #isBusy = false;
  #isServing = false;
  #closed: ConnectError | undefined;

  constructor(open: OpenSocket, options: SessionOptions) {
    this.#options = options;
    this.limits = { ...TUNNEL_LIMITS, ...options.limits };
    this.#frameLimits = { frameBytes: MAX_FRAME_BYTES, headerBytes: this.limits.headerBytes };
    this.#sender = new Sender(
      () => this.#socket,
      DEFAULT_PEER_SETTINGS.connectionWindow,
      () => this.#outgoing.markAllSent(),
      (error) => this.#fail(error),
    );
    this.heartbeat = this.#createHeartbeat();
    this.#receiveWindow = this.#createReceiveWindow();
    this.#streams = new StreamTable(options.isDialler);
    const calls = {
      streams: this.#streams,
      methods: new MethodNumbers(),
      attach: (stream: Stream) => this.#attach(stream),
    };
    this.#outgoing = new OutgoingCalls({ ...calls, sender: this.#sender, peer: this.#peer });
    this.#incoming = new IncomingCalls({
      ...calls,
      maxCalls: this.limits.calls,
      checkMessage: options.checkMessage ?? maxMessageBytes(this.limits.messageBytes),
      answer: options.answer,
      onRunningChanged: () => this.#updateBusy(),
    });
    this.#router = this.#createRouter();
    // SETTINGS are the first frame; they leave together with the first PING.
    writeSettings(this.#sender.out, this.#initialSettings);
    this.#socket = open({
      onMessage: (bytes) => this.#receive(bytes),
      onDrained: () => this.#sender.unblock(),
      onClosed: (code, reason) =>
        this.#terminate(`its socket was closed (${code}${reason && `: ${reason}`})`, code),
    });
    this.#socket.keepProcessAlive(false);
    if (!this.#closed) this.heartbeat.start();
  }

  /** The settings of the other end: defaults until it has sent its own. */
  get peer(): PeerSettings {
    return this.#peer.settings;
  }

  /** Checks with a PING whether the other end is still there; if not, the session soon ends. */
  probe(): void {
    if (!this.#closed) this.heartbeat.probe();
  }

  /** Sets whether one of the ends waits to be called, so that a loss has to be detected early. */
  setServing(isServing: boolean): void {
    if (isServing === this.#isServing || this.#closed) return;
    this.#isServing = isServing;
    this.heartbeat.check();
  }

  /** The bytes that wait in the socket. */
  get bufferedBytes(): number {
    return this.#socket.bufferedBytes;
  }

  /** Whether no call is open or worked on, in either direction. */
  get isIdle(): boolean {
    return this.#streams.size === 0 && !this.#outgoing.hasWaiting && !this.#incoming.hasRunning;
  }

  /** Whether this end may begin calls: the session is open, and the other end has not sent GOAWAY. */
  get canBeginCalls(): boolean {
    return !this.#closed && !this.#peer.hasSentGoaway;
  }

  /** Begins a call, at once or when one of the open calls has ended. */
  begin(call: OutgoingCall): void {
    const error = this.#closed ?? (this.#peer.hasSentGoaway ? noMoreCalls() : undefined);
    if (error) {
      call.stream.events.onError(error);
      return;
    }
    this.#outgoing.begin(call);
    this.#updateBusy();
  }

  /** Resets a stream at both ends. It gets no more events. */
  reset(stream: Stream, code: Code): void {
    if (stream.id === 0) this.#outgoing.stopWaiting(stream);
    else if (!stream.isClosed) {
      writeReset(this.#sender.batch, stream.id, code);
      this.#remove(stream);
      // A call ran out of time while nothing was received: the connection may be lost.
      if (code === Code.DeadlineExceeded && this.heartbeat.silentMs >= SUSPECT_AFTER_MS) this.probe();
    }
    // Also if the stream is closed: the credit of what was not read still has to be returned.
    stream.destroy();
    this.#updateBusy();
  }

  /** Sends the headers of a response, before its first message. */
  sendHeaders(stream: Stream, header: HeaderList): void {
    if (stream.isClosed || header.length === 0) return;
    const tooLarge = checkHeaderSize("headers", header, this.peer.headerBytes);
    if (tooLarge) stream.end(tooLarge);
    else writeHeaders(this.#sender.batch, stream.id, header);
  }

  /** Sends changed settings. They hold for what is sent after them. */
  sendSettings(settings: Pick<Settings, "authorization" | "offer" | "calledOffer">): void {
    writeSettings(this.#sender.batch, settings);
  }

  /** Accepts no more calls; open ones go on. */
  sendGoaway(reason: string): void {
    if (this.#streams.hasSentGoaway || this.#closed) return;
    this.#streams.hasSentGoaway = true;
    writeGoaway(this.#sender.batch, this.#streams.lastRemoteId, reason);
  }

  /** Closes the socket. Open calls fail with `Code.Unavailable`. Idempotent. */
  close(code: number, reason: string): void {
    if (this.#closed) return;
    this.#sender.close();
    this.#socket.close(code, closeReason(reason));
    this.#terminate(reason, code);
  }

  // StreamSession: for the streams.

  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean {
    return this.#sender.tryWrite(stream, bytes, end);
  }

  enqueue(stream: Stream): void {
    this.#sender.enqueue(stream);
  }

  writeEnd({ id }: Stream, status: CallStatus | undefined): void {
    if (!status) {
      writeEnd(this.#sender.batch, id);
      return;
    }
    const tooLarge = checkHeaderSize("trailers", status.trailers, this.peer.headerBytes);
    writeStatus(this.#sender.batch, id, tooLarge ?? fitStatus(status));
  }

  release(stream: Stream, cost: number): void {
    this.#receiveWindow.release(stream, cost);
  }

  onHalfClosed(stream: Stream): void {
    if (stream.isClosed) return;
    const isLocal = this.#streams.isLocal(stream.id);
    // The end of the answering half ends the whole call.
    if (isLocal ? !stream.isReceiveClosed : !stream.isSendClosed) return;
    this.#remove(stream);
    if (isLocal) stream.close();
    else stream.destroy();
    this.#updateBusy();
  }

  addArriving(stream: Stream, change: number): ConnectError | undefined {
    // Responses that this end asked for are not counted.
    return this.#streams.isLocal(stream.id) ? undefined : this.#options.onArriving?.(change, stream);
  }

  addLeaving(stream: Stream, change: number): void {
    if (!this.#streams.isLocal(stream.id)) this.#options.onLeaving?.(change, stream);
  }

  get #initialSettings(): Settings {
    const { streamWindow, connectionWindow } = this.#receiveWindow;
    const { calls, headerBytes } = this.limits;
    return { streamWindow, connectionWindow, calls, headerBytes, ...this.#options.identity };
  }

  #createHeartbeat(): Heartbeat {
    return new Heartbeat({
      limits: this.limits,
      sendPing: (number) => writePing(this.#sender.batch, number),
      onTimeout: (reason) => this.close(CLOSE_CODE.timeout, reason),
      onProbed: () => this.#options.onProbed?.(),
      isActive: () => this.#isBusy || this.#isServing,
      isSending: () => this.#socket.bufferedBytes > LOW_WATER_BYTES,
    });
  }

  #createReceiveWindow(): ReceiveWindow {
    return new ReceiveWindow(this.limits, DEFAULT_PEER_SETTINGS, {
      sendCredit: (id, bytes) => writeCredit(this.#sender.batch, id, bytes),
      // One PING at a time: the PONG of an earlier one would be taken for that of this one.
      ping: () => {
        if (this.heartbeat.isPingPending) return false;
        this.heartbeat.ping();
        return true;
      },
    });
  }

  #createRouter(): FrameRouter {
    return new FrameRouter({
      streams: this.#streams,
      incoming: this.#incoming,
      receiveWindow: this.#receiveWindow,
      sender: this.#sender,
      heartbeat: this.heartbeat,
      onSettings: (settings) => this.#onSettings(settings),
      onGoaway: (lastId) => this.#onGoaway(lastId),
      remove: (stream) => this.#remove(stream),
      updateBusy: () => this.#updateBusy(),
    });
  }

  #receive(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.heartbeat.onReceived();
    try {
      // The settings identify the other end, so they have to precede its calls.
      if (!this.#peer.hasSentSettings && !startsWithSettings(bytes)) {
        throw new ProtocolError("the first frame is not the settings");
      }
      readFrames(bytes, this.#router, this.#frameLimits);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (error instanceof ProtocolError) this.close(error.closeCode, error.message);
    else this.close(INTERNAL_ERROR, `unexpected failure: ${error}`);
  }

  #onSettings(settings: Settings): void {
    const before = this.#peer.update(settings);
    const { streamWindow, connectionWindow } = this.peer;
    this.#sender.credit = addCredit(this.#sender.credit, connectionWindow - before.connectionWindow);
    for (const stream of this.#streams.all()) {
      stream.sendCredit = addCredit(stream.sendCredit, streamWindow - before.streamWindow);
      stream.flush();
    }
    this.#sender.schedule();
    this.#options.onSettings?.(this.peer);
    this.#outgoing.beginWaiting();
  }

  #onGoaway(lastId: number): void {
    this.#peer.hasSentGoaway = true;
    const unaccepted = this.#outgoing.unacceptedAbove(lastId);
    for (const { stream } of unaccepted) this.#remove(stream);
    unaccepted.push(...this.#outgoing.takeWaiting());
    for (const { stream } of unaccepted) stream.detach();
    if (this.#options.onGoaway) this.#options.onGoaway(unaccepted);
    else for (const { stream } of unaccepted) stream.events.onError(noMoreCalls());
    this.#updateBusy();
  }

  #attach(stream: Stream): void {
    stream.session = this;
    stream.sendCredit = this.peer.streamWindow;
    this.#receiveWindow.openStream(stream);
  }

  #remove(stream: Stream): void {
    if (!this.#streams.delete(stream)) return;
    this.#sender.remove(stream);
    this.#receiveWindow.removeStream(stream);
    if (this.#streams.isLocal(stream.id)) this.#outgoing.beginWaiting();
    else this.#incoming.close();
  }

  #updateBusy(): void {
    const isBusy = !this.isIdle;
    if (isBusy === this.#isBusy || this.#closed) return;
    this.#isBusy = isBusy;
    this.#socket.keepProcessAlive(isBusy);
    this.heartbeat.check();
    this.#options.onBusy?.(isBusy);
  }

  /** Ends the session: every stream fails but those of calls of which nothing was sent. */
  #terminate(reason: string, code: number): void {
    if (this.#closed) return;
    const error = new ConnectError(`the tunnel was lost: ${reason}`, Code.Unavailable);
    this.#closed = error;
    this.#router.isClosed = true;
    this.heartbeat.stop();
    this.#sender.stop();
    const streams = this.#streams.all();
    const unsent = this.#outgoing.takeUnsent();
    const unsentStreams = new Set(unsent.map(({ stream }) => stream));
    this.#streams.clear();
    for (const stream of streams) {
      if (unsentStreams.has(stream)) continue;
      stream.destroy();
      stream.events.onError(error);
    }
    for (const { stream } of unsent) stream.detach();
    if (this.#options.onClosed) this.#options.onClosed(error, unsent, code);
    else for (const { stream } of unsent) stream.events.onError(error);
  }
}

/** If a call runs out of time after so long a silence, in milliseconds, the connection is suspected to be lost. */
const SUSPECT_AFTER_MS = 1000;

/** The WebSocket close code for an unexpected condition. */
const INTERNAL_ERROR = 1011;

const noMoreCalls = (): ConnectError =>
  new ConnectError("the other end takes no more calls", Code.Unavailable);
