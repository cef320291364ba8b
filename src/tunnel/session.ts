import { Code, ConnectError } from "@connectrpc/connect";
import { IncomingCalls } from "./answer/incoming-calls.js";
import type { Channel, OutgoingCall } from "./call/call.js";
import { OutgoingCalls } from "./call/outgoing-calls.js";
import { FRAME_COST } from "./flow/frame-cost.js";
import { ReceiveWindow } from "./flow/receive-window.js";
import { Sender } from "./flow/sender.js";
import { Stream, type StreamEvents, type StreamSession } from "./flow/stream.js";
import { StreamTable } from "./flow/stream-table.js";
import { Heartbeat } from "./heartbeat.js";
import { DEFAULT_PEER_SETTINGS, type PeerSettings, type SessionOptions } from "./session-options.js";
import { closeReason, LOW_WATER, type OpenSocket, type Socket } from "./socket/socket.js";
import type { CallStatus, HeaderList, Settings } from "./wire/frame.js";
import * as frame from "./wire/frame.js";
import { OK_STATUS } from "./wire/frame.js";
import { checkHeaderSize, fitStatus } from "./wire/frame-limits.js";
import { type CheckMessage, maxMessageBytes, TUNNEL_LIMITS, type TunnelLimits } from "./wire/limits.js";
import { MethodNumbers } from "./wire/method-numbers.js";
import { CLOSE_CODE, ProtocolError } from "./wire/protocol-error.js";

/** The most bytes of a frame that is taken: a piece, a header block or an error, with what stands around it. */
const FRAME_BYTES = 256 * 1024;

/**
 * Many calls in both directions over one socket. It knows frames, credit and whose turn it is, and nothing of what
 * calls mean: caller.ts and dispatcher.ts do.
 */
export class Session implements StreamSession, Channel {
  readonly limits: TunnelLimits;
  readonly #options: SessionOptions;
  readonly #socket: Socket;
  readonly #sender: Sender;
  readonly #heartbeat: Heartbeat;
  readonly #inflow: ReceiveWindow;
  readonly #streams: StreamTable;
  readonly #calls: OutgoingCalls;
  readonly #theirs: IncomingCalls;
  readonly #most: frame.FrameLimits;
  readonly #check: CheckMessage;

  #peer: PeerSettings = DEFAULT_PEER_SETTINGS;
  #isToldOfPeer = false;
  readonly #methods = new MethodNumbers();

  #isBusy = false;
  #isServing = false;
  #hasPeerLeft = false;
  #closed: ConnectError | undefined;

  constructor(open: OpenSocket, options: SessionOptions) {
    this.#options = options;
    this.limits = { ...TUNNEL_LIMITS, ...options.limits };
    this.#most = { frameBytes: FRAME_BYTES, headerBytes: this.limits.headerBytes };
    this.#check = options.checkMessage ?? maxMessageBytes(this.limits.messageBytes);
    this.#streams = new StreamTable(options.isDialler);
    this.#calls = new OutgoingCalls(this.#streams);
    this.#theirs = new IncomingCalls(this.limits.calls, () => this.#tellBusy());
    this.#sender = new Sender(
      () => this.#socket,
      DEFAULT_PEER_SETTINGS.connectionWindow,
      () => this.#calls.markAllSent(),
      (fault) => this.#broken(fault),
    );
    this.#inflow = new ReceiveWindow(this.limits, DEFAULT_PEER_SETTINGS, {
      pay: (id, credit) => this.#control(() => frame.writeCredit(this.#sender.out, id, credit)),
      // One question at a time: an answer that is under way would be taken for that to this one.
      ask: () => {
        if (this.#heartbeat.isPingPending) return false;
        this.#heartbeat.ping();
        return true;
      },
    });
    const { calls, headerBytes } = this.limits;
    frame.writeSettings(this.#sender.out, {
      streamWindow: this.#inflow.streamWindow,
      connectionWindow: this.#inflow.connectionWindow,
      calls,
      headerBytes,
      ...options.identity,
    });
    this.#heartbeat = new Heartbeat({
      limits: this.limits,
      sendPing: (number) => this.#control(() => frame.writePing(this.#sender.out, number)),
      onTimeout: (why) => this.close(CLOSE_CODE.timeout, why),
      onProbed: () => this.#options.onProbed?.(),
      isActive: () => this.#isBusy || this.#isServing,
      isSending: () => this.#socket.bufferedBytes > LOW_WATER,
    });
    this.#socket = open({
      onMessage: (bytes) => this.#read(bytes),
      onDrained: () => this.#sender.unblock(),
      onClosed: (code, reason) =>
        this.#end(`its socket was closed (${code}${reason && `: ${reason}`})`, code),
    });
    this.#socket.keepProcessAlive(false);
  }

  /** The other end's settings: the least there is, until it has told its own. */
  get peer(): PeerSettings {
    return this.#peer;
  }

  /** The shortest round trip that was measured, in milliseconds; Infinity before the first. */
  get rttMs(): number {
    return this.#heartbeat.rttMs;
  }

  /** How long nothing was heard of the other end, in milliseconds. */
  get silentMs(): number {
    return this.#heartbeat.silentMs;
  }

  /** Whether it is being found out whether the other end is still there. */
  get isProbing(): boolean {
    return this.#heartbeat.isProbing;
  }

  /** Finds out whether the other end is still there; if not, the session ends soon. */
  probe(): void {
    if (!this.#closed) this.#heartbeat.probe();
  }

  /** Says whether one of the ends waits to be called, so that a loss has to be noticed soon. */
  setServing(isServing: boolean): void {
    if (isServing === this.#isServing || this.#closed) return;
    this.#isServing = isServing;
    this.#heartbeat.activityChanged();
  }

  /** How many bytes wait in the socket. */
  get bufferedBytes(): number {
    return this.#socket.bufferedBytes;
  }

  /** Whether no call is open or worked on, in either direction. */
  get isIdle(): boolean {
    return this.#streams.size === 0 && !this.#calls.hasWaiting && !this.#theirs.hasRunning;
  }

  /** Whether calls of this end may begin. */
  get canBeginCalls(): boolean {
    return !this.#closed && !this.#hasPeerLeft;
  }

  /** Makes a call: at once, or when one of those under way has ended. */
  begin(call: OutgoingCall): void {
    const closed = this.#closed ?? (this.#hasPeerLeft ? left() : undefined);
    if (closed) {
      call.stream.events.onError(closed);
      return;
    }
    if (this.#calls.hasWaiting || !this.#mayBegin(call)) this.#calls.wait(call);
    else this.#begin(call);
    this.#tellBusy();
  }

  /** Gives a stream up: the other end hears of it and stops. Nothing more is told of it. */
  reset(stream: Stream, code: Code): void {
    if (stream.id === 0) this.#calls.stopWaiting(stream);
    else if (!stream.isClosed) {
      this.#control(() => frame.writeReset(this.#sender.out, stream.id, code));
      this.#forget(stream);
      // A call that waited in vain while nothing else came either: perhaps nobody is there any more.
      if (code === Code.DeadlineExceeded && this.silentMs >= DOUBT_MS) this.probe();
    }
    // Also where all of it has come: what nobody reads of it is still to be given back.
    stream.destroy();
    this.#tellBusy();
  }

  /** Sends headers of an answer, before its first message. */
  sendHeaders(stream: Stream, header: HeaderList): void {
    if (stream.isClosed || header.length === 0) return;
    const fault = checkHeaderSize("headers", header, this.#peer.headerBytes);
    if (fault) stream.end(fault);
    else this.#control(() => frame.writeHeaders(this.#sender.out, stream.id, header));
  }

  /** Tells the other end what has changed of this one: it holds for what is sent from now on. */
  sendSettings(settings: Pick<Settings, "authorization" | "offer" | "calledOffer">): void {
    this.#control(() => frame.writeSettings(this.#sender.out, settings));
  }

  /** Takes no more calls; those under way go on. */
  sendGoaway(reason: string): void {
    if (this.#streams.hasSentGoaway || this.#closed) return;
    this.#streams.hasSentGoaway = true;
    this.#control(() => frame.writeGoaway(this.#sender.out, this.#streams.lastRemoteId, reason));
  }

  /** Closes the socket. Calls under way fail with `unavailable`. Idempotent. */
  close(code: number, reason: string): void {
    if (this.#closed) return;
    this.#sender.close();
    this.#socket.close(code, closeReason(reason));
    this.#end(reason, code);
  }

  // What streams ask for.

  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean {
    return this.#sender.tryWrite(stream, bytes, end);
  }

  enqueue(stream: Stream): void {
    this.#sender.enqueue(stream);
  }

  writeEnd({ id }: Stream, status: CallStatus | undefined): void {
    const { out } = this.#sender;
    this.#control(() => {
      if (!status) frame.writeEnd(out, id);
      else
        frame.writeStatus(
          out,
          id,
          checkHeaderSize("trailers", status.trailers, this.#peer.headerBytes) ?? fitStatus(status),
        );
    });
  }

  release(stream: Stream, cost: number): void {
    this.#inflow.release(stream, cost);
  }

  onHalfClosed(stream: Stream): void {
    if (stream.isClosed) return;
    // An answer that has ended ends its call too: who has answered wants nothing more of it.
    if (this.#streams.isLocal(stream.id) ? !stream.isReceiveClosed : !stream.isSendClosed) return;
    this.#forget(stream);
    if (this.#streams.isLocal(stream.id)) stream.close();
    else stream.destroy();
    this.#tellBusy();
  }

  addArriving(stream: Stream, change: number): ConnectError | undefined {
    // What this end asked for itself, it wants to have.
    return this.#streams.isLocal(stream.id) ? undefined : this.#options.onArriving?.(change, stream);
  }

  addLeaving(stream: Stream, change: number): void {
    if (!this.#streams.isLocal(stream.id)) this.#options.onLeaving?.(change, stream);
  }

  // What the other end says.

  readonly #receiver: frame.FrameReceiver & { isClosed: boolean } = {
    isClosed: false,
    settings: (settings) => this.#settings(settings),
    call: (id, method, timeoutMs, header) => this.#call(id, method, timeoutMs, header),
    message: (id, bytes, end, more) => this.#message(id, bytes, end, more),

    end: (id) => {
      const stream = this.#streams.find(id);
      if (this.#streams.isLocal(id))
        throw new ProtocolError(`stream ${id} is answered, and ends without a status`);
      if (stream?.isReceiveClosed) throw new ProtocolError(`stream ${id} ends twice`);
      stream?.receiveEnd(OK_STATUS);
    },

    headers: (id, header) => {
      const stream = this.#streams.findForResponse(id);
      if (!stream) return;
      if (stream.hasResponse) throw new ProtocolError(`the headers of stream ${id} come again or late`);
      stream.hasResponse = true;
      stream.markAccepted();
      stream.events.onHeaders?.(header);
    },

    status: (id, status) => {
      const stream = this.#streams.findForResponse(id);
      stream?.markAccepted();
      stream?.receiveEnd(status);
    },

    reset: (id, code) => {
      if (code < 1 || code > 16) throw new ProtocolError(`a reset has the code ${code}: they are 1 to 16`);
      if (!this.#streams.isLocal(id)) this.#theirs.countReset();
      const stream = this.#streams.find(id);
      if (!stream) return;
      this.#forget(stream);
      stream.destroy();
      stream.events.onError(new ConnectError("the other end gave the call up", code));
      this.#tellBusy();
    },

    credit: (id, bytes) => {
      if (id === 0) {
        this.#sender.credit = added(this.#sender.credit, bytes);
        this.#sender.schedule();
        return;
      }
      const stream = this.#streams.find(id);
      if (!stream) return;
      stream.markAccepted();
      stream.sendCredit = added(stream.sendCredit, bytes);
      stream.flush();
    },

    ping: (number) => this.#control(() => frame.writePong(this.#sender.out, number)),
    pong: (number) => {
      const tookMs = this.#heartbeat.pong(number);
      if (tookMs !== undefined) this.#inflow.onRoundTrip(tookMs, this.#heartbeat.rttMs);
    },

    goaway: (lastId) => {
      this.#hasPeerLeft = true;
      const untaken = this.#calls.unacceptedAbove(lastId);
      for (const { stream } of untaken) this.#forget(stream);
      untaken.push(...this.#calls.takeWaiting());
      for (const { stream } of untaken) stream.detach();
      this.#options.onGoaway?.(untaken);
      for (const { stream } of this.#options.onGoaway ? [] : untaken) stream.events.onError(left());
      this.#tellBusy();
    },
  };

  #read(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#heartbeat.onReceived();
    try {
      // What the other end is comes first, so that no call is answered to nobody.
      if (!this.#isToldOfPeer && !frame.startsWithSettings(bytes)) {
        throw new ProtocolError("the first frame is not the settings");
      }
      frame.readFrames(bytes, this.#receiver, this.#most);
    } catch (error) {
      this.#broken(error);
    }
  }

  #broken(error: unknown): void {
    const { closeCode, message } =
      error instanceof ProtocolError
        ? error
        : { closeCode: INTERNAL, message: `unexpected failure: ${error}` };
    this.close(closeCode, message);
  }

  #settings(settings: Settings): void {
    const before = this.#peer;
    this.#peer = { ...before, ...settings };
    this.#isToldOfPeer = true;
    const { streamWindow, connectionWindow } = this.#peer;
    if (streamWindow < before.streamWindow || connectionWindow < before.connectionWindow) {
      throw new ProtocolError("a window is smaller than it was before");
    }
    this.#sender.credit = added(this.#sender.credit, connectionWindow - before.connectionWindow);
    for (const stream of this.#streams.all()) {
      stream.sendCredit = added(stream.sendCredit, streamWindow - before.streamWindow);
      stream.flush();
    }
    this.#sender.schedule();
    this.#options.onSettings?.(this.#peer);
    this.#beginWaiting();
  }

  #call(id: number, method: number | string, timeoutMs: number | undefined, header: HeaderList): void {
    this.#streams.checkRemoteId(id);
    const path = this.#methods.pathOf(method);
    // What comes behind our goodbye is sent elsewhere.
    if (this.#streams.hasSentGoaway) return;
    const stream = new Stream(IGNORED, this.#check, true);
    this.#streams.addRemote(id, stream);
    this.#carry(stream);
    if (!this.#theirs.open()) {
      const text = `too many calls: at most ${this.limits.calls} at once`;
      stream.end({ ...OK_STATUS, code: Code.ResourceExhausted, text });
      return;
    }
    const settle = this.#theirs.startWork();
    this.#tellBusy();
    this.#options.answer({ path, timeoutMs, header }, stream, settle);
  }

  #message(id: number, bytes: Uint8Array, end: boolean, more: boolean): void {
    const stream = this.#streams.find(id);
    this.#inflow.charge(stream, bytes.length + FRAME_COST);
    if (!stream) return;
    if (stream.isReceiveClosed) throw new ProtocolError(`a message of stream ${id}, whose half has ended`);
    stream.markAccepted();
    stream.receiveMessage(bytes, more, end);
  }

  #write(call: OutgoingCall): void {
    const { stream, path, timeoutMs, header } = call;
    this.#streams.addLocal(stream);
    stream.call = call;
    this.#carry(stream);
    this.#control(() =>
      frame.writeCall(this.#sender.out, stream.id, this.#methods.numberOf(path), timeoutMs, header),
    );
    stream.flush();
  }

  #carry(stream: Stream): void {
    stream.session = this;
    stream.sendCredit = this.#peer.streamWindow;
    this.#inflow.openStream(stream);
  }

  #forget(stream: Stream): void {
    if (!this.#streams.delete(stream)) return;
    this.#sender.remove(stream);
    this.#inflow.removeStream(stream);
    if (!this.#streams.isLocal(stream.id)) {
      this.#theirs.close();
      return;
    }
    this.#beginWaiting();
  }

  #beginWaiting(): void {
    for (let call = this.#calls.next; call && this.#mayBegin(call); call = this.#calls.next) {
      this.#calls.shift();
      this.#begin(call);
    }
  }

  #mayBegin({ header }: OutgoingCall): boolean {
    if (this.#streams.localCount >= this.#peer.calls || this.#hasPeerLeft) return false;
    // What the other end takes is more than what is assumed until it has told.
    return this.#isToldOfPeer || !checkHeaderSize("headers", header, this.#peer.headerBytes);
  }

  #begin(call: OutgoingCall): void {
    const fault = checkHeaderSize("headers", call.header, this.#peer.headerBytes);
    if (fault) call.stream.events.onError(new ConnectError(fault.text, fault.code));
    else this.#write(call);
  }

  #control(write: () => void): void {
    if (this.#closed) return;
    write();
    this.#sender.schedule();
  }

  #tellBusy(): void {
    const busy = !this.isIdle;
    if (busy === this.#isBusy || this.#closed) return;
    this.#isBusy = busy;
    this.#socket.keepProcessAlive(busy);
    this.#heartbeat.activityChanged();
    this.#options.onBusy?.(busy);
  }

  /** All is over: told to each stream, but for the calls that never left. */
  #end(why: string, code: number): void {
    if (this.#closed) return;
    const error = new ConnectError(`the tunnel was lost: ${why}`, Code.Unavailable);
    this.#closed = error;
    this.#receiver.isClosed = true;
    this.#heartbeat.stop();
    this.#sender.stop();
    const streams = this.#streams.all();
    const unsent = this.#calls.takeUnsent();
    const safe = new Set(unsent.map(({ stream }) => stream));
    this.#streams.clear();
    for (const stream of streams) {
      if (safe.has(stream)) continue;
      stream.destroy();
      stream.events.onError(error);
    }
    for (const { stream } of unsent) stream.detach();
    this.#options.onClosed?.(error, unsent, code);
    for (const { stream } of this.#options.onClosed ? [] : unsent) stream.events.onError(error);
  }
}

/** A session that was silent for less is not doubted, in milliseconds. */
const DOUBT_MS = 1000;

/** The close code of WebSocket for what nobody foresaw. */
const INTERNAL = 1011;

const IGNORED: StreamEvents = { onMessage() {}, onEnd() {}, onError() {}, onRefused() {} };

const left = (): ConnectError => new ConnectError("the other end takes no more calls", Code.Unavailable);

function added(credit: number, more: number): number {
  if (credit + more > Number.MAX_SAFE_INTEGER) throw new ProtocolError("more credit than a number holds");
  return credit + more;
}
