import type { TunnelLimits } from "../wire/limits.js";
import { CLOSE_CODE, ProtocolError } from "../wire/protocol-error.js";
import type { Stream } from "./stream.js";

/** What an inflow needs of its session. */
interface Around {
  /** Gives the other end credit: of a stream, or of the connection where `id` is 0. */
  pay(id: number, credit: number): void;
  /** Asks the other end for a sign, unless it is being asked already. Whether it was asked. */
  ask(): boolean;
}

/**
 * The credit of what is received: what the other end may send, on each stream and on all of them, what has been taken
 * and is still to be given back, and how wide the windows are. They widen where the round trip makes that faster.
 */
export class ReceiveWindow {
  streamWindow: number;
  connectionWindow: number;
  /** What the other end was told that each stream begins with. */
  readonly #firstWindow: number;
  /** How many streams that stand still leave enough for the others, and 1: it stays the same however wide they grow. */
  readonly #ratio: number;
  readonly #most: number;
  readonly #around: Around;
  #credit: number;
  #owed = 0;
  /** How many bytes of which stream have come since the other end was asked. */
  #probe: { stream: Stream; bytes: number } | undefined;

  constructor(
    { streamWindow, connectionWindow, maxStreamWindow: mostStreamWindow }: TunnelLimits,
    least: { streamWindow: number; connectionWindow: number },
    around: Around,
  ) {
    this.streamWindow = Math.max(streamWindow, least.streamWindow);
    this.connectionWindow = Math.max(connectionWindow, least.connectionWindow);
    this.#firstWindow = this.streamWindow;
    this.#ratio = this.connectionWindow / this.streamWindow;
    this.#most = mostStreamWindow;
    this.#around = around;
    this.#credit = this.connectionWindow;
  }

  /** Gives a stream that begins its window; a wider one comes with the first credit that is given back. */
  openStream(stream: Stream): void {
    stream.receiveCredit = stream.receiveWindow = this.#firstWindow;
  }

  /** Takes the cost of a message off; of one of a stream that is over, it is given back at once. Throws if it is too much. */
  charge(stream: Stream | undefined, cost: number): void {
    this.#credit -= cost;
    if (this.#credit < 0) throw overdrawn("of the connection", -this.#credit);
    if (!stream) {
      this.#payConnection(cost);
      return;
    }
    stream.receiveCredit -= cost;
    if (stream.receiveCredit < 0) throw overdrawn(`of stream ${stream.id}`, -stream.receiveCredit);
    if (this.#probe?.stream === stream) this.#probe.bytes += cost;
  }

  /** The app has taken what cost so much. */
  release(stream: Stream, cost: number): void {
    this.#payConnection(cost);
    if (stream.isReceiveClosed || stream.isClosed) return;
    stream.pendingCredit += cost;
    if (stream.pendingCredit * 2 < stream.receiveWindow) return;
    this.#measure(stream);
    const wider = Math.max(0, this.streamWindow - stream.receiveWindow);
    stream.receiveWindow += wider;
    const credit = stream.pendingCredit + wider;
    stream.receiveCredit += credit;
    stream.pendingCredit = 0;
    this.#around.pay(stream.id, credit);
  }

  removeStream(stream: Stream): void {
    if (this.#probe?.stream === stream) this.#probe = undefined;
  }

  /** The other end's sign took `tookMs`, and the quickest of all `rttMs`. */
  onRoundTrip(tookMs: number, rttMs: number): void {
    const probe = this.#probe;
    if (!probe) return;
    this.#probe = undefined;
    // Of what it brings, at this speed, within the shortest round trip: a longer one is spent in queues. As credit goes
    // back by half windows, half a window is all that comes of a stream that waits for credit: so more than twice that.
    const wanted = ((probe.bytes * rttMs) / tookMs) * 3;
    this.streamWindow = Math.max(this.streamWindow, Math.min(Math.ceil(wanted), this.#most));
    const wider = Math.floor(this.streamWindow * this.#ratio) - this.connectionWindow;
    if (wider <= 0) return;
    this.connectionWindow += wider;
    this.#credit += wider;
    this.#around.pay(0, wider);
  }

  /** Looks whether the stream would be faster with more under way: what comes of it within one round trip tells. */
  #measure(stream: Stream): void {
    if (this.streamWindow < this.#most && this.#around.ask()) this.#probe = { stream, bytes: 0 };
  }

  #payConnection(cost: number): void {
    this.#owed += cost;
    // Half of the window; sooner where readers that stand still hold most of it, so that it is there for the others.
    if (this.#owed * 2 < this.connectionWindow && this.#owed < this.#credit) return;
    const credit = this.#owed;
    this.#owed = 0;
    this.#credit += credit;
    this.#around.pay(0, credit);
  }
}

const overdrawn = (what: string, by: number): ProtocolError =>
  new ProtocolError(`the credit ${what} was overdrawn by ${by} bytes`, CLOSE_CODE.flowControl);
