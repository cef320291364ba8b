import type { TunnelLimits } from "../wire/limits.js";
import { CLOSE_CODE, ProtocolError } from "../wire/protocol-error.js";
import type { Stream } from "./stream.js";

/** The part of a session that a receive window uses. */
interface CreditSender {
  /** Sends CREDIT for a stream, or for the connection if `id` is 0. */
  sendCredit(id: number, bytes: number): void;
  /** Sends a PING to measure the round trip. Returns false if one is pending already. */
  ping(): boolean;
}

/**
 * Flow control of the receiving direction: charges each message to the credit of its stream and of the connection,
 * returns credit when messages are consumed, and widens the windows if the round trip shows that this is faster.
 */
export class ReceiveWindow {
  streamWindow: number;
  connectionWindow: number;
  /** The stream window of our SETTINGS. */
  readonly #initialStreamWindow: number;
  /** The ratio of the connection's window to a stream's: it stays the same however far they grow. */
  readonly #ratio: number;
  readonly #maxStreamWindow: number;
  readonly #sender: CreditSender;
  #credit: number;
  /** Consumed bytes of the connection whose credit has not been returned yet. */
  #pendingCredit = 0;
  /** The stream that is measured, and the bytes received on it since the PING. */
  #probe: { stream: Stream; bytes: number } | undefined;

  constructor(
    { streamWindow, connectionWindow, maxStreamWindow }: TunnelLimits,
    min: { streamWindow: number; connectionWindow: number },
    sender: CreditSender,
  ) {
    this.streamWindow = Math.max(streamWindow, min.streamWindow);
    this.connectionWindow = Math.max(connectionWindow, min.connectionWindow);
    this.#initialStreamWindow = this.streamWindow;
    this.#ratio = this.connectionWindow / this.streamWindow;
    this.#maxStreamWindow = maxStreamWindow;
    this.#sender = sender;
    this.#credit = this.connectionWindow;
  }

  /** Gives a new stream its window. A wider one takes effect with the first credit that is returned. */
  openStream(stream: Stream): void {
    stream.receiveCredit = stream.receiveWindow = this.#initialStreamWindow;
  }

  /** Charges a received message. That of a closed stream is returned at once. Throws if the credit is exceeded. */
  charge(stream: Stream | undefined, cost: number): void {
    this.#credit -= cost;
    if (this.#credit < 0) throw creditExceeded("of the connection", -this.#credit);
    if (!stream) {
      this.#releaseConnection(cost);
      return;
    }
    stream.receiveCredit -= cost;
    if (stream.receiveCredit < 0) throw creditExceeded(`of stream ${stream.id}`, -stream.receiveCredit);
    if (this.#probe?.stream === stream) this.#probe.bytes += cost;
  }

  /** Releases the cost of a consumed message, and returns credit once half a window is pending. */
  release(stream: Stream, cost: number): void {
    this.#releaseConnection(cost);
    if (stream.isReceiveClosed || stream.isClosed) return;
    stream.pendingCredit += cost;
    if (stream.pendingCredit * 2 < stream.receiveWindow) return;
    this.#startProbe(stream);
    const added = Math.max(0, this.streamWindow - stream.receiveWindow);
    stream.receiveWindow += added;
    const credit = stream.pendingCredit + added;
    stream.receiveCredit += credit;
    stream.pendingCredit = 0;
    this.#sender.sendCredit(stream.id, credit);
  }

  removeStream(stream: Stream): void {
    if (this.#probe?.stream === stream) this.#probe = undefined;
  }

  /** Ends a probe: its round trip took `tookMs`, the shortest of all took `rttMs`. */
  onRoundTrip(tookMs: number, rttMs: number): void {
    const probe = this.#probe;
    if (!probe) return;
    this.#probe = undefined;
    // The bytes that arrive at this rate within the shortest round trip; a longer one is spent in queues. Credit
    // returns by half windows, so a stream that waits for credit receives half a window: the factor must be more than
    // two.
    const wanted = ((probe.bytes * rttMs) / tookMs) * 3;
    this.streamWindow = Math.max(this.streamWindow, Math.min(Math.ceil(wanted), this.#maxStreamWindow));
    const added = Math.floor(this.streamWindow * this.#ratio) - this.connectionWindow;
    if (added <= 0) return;
    this.connectionWindow += added;
    this.#credit += added;
    this.#sender.sendCredit(0, added);
  }

  /** Measures how much the stream receives within a round trip. */
  #startProbe(stream: Stream): void {
    if (this.streamWindow < this.#maxStreamWindow && this.#sender.ping()) this.#probe = { stream, bytes: 0 };
  }

  #releaseConnection(cost: number): void {
    this.#pendingCredit += cost;
    // Half of the window, or earlier if slow readers hold most of it, so that the other streams can go on.
    if (this.#pendingCredit * 2 < this.connectionWindow && this.#pendingCredit < this.#credit) return;
    const credit = this.#pendingCredit;
    this.#pendingCredit = 0;
    this.#credit += credit;
    this.#sender.sendCredit(0, credit);
  }
}

const creditExceeded = (which: string, bytes: number): ProtocolError =>
  new ProtocolError(`the credit ${which} was overdrawn by ${bytes} bytes`, CLOSE_CODE.flowControl);
