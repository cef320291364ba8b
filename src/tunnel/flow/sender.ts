import { queueMacrotask } from "../../lib/set-immediate.js";
import type { Socket } from "../socket/socket.js";
import { ByteWriter, releaseBytes } from "../wire/bytes.js";
import { writeMessage } from "../wire/frame.js";
import { CLOSE_CODE, ProtocolError } from "../wire/protocol-error.js";
import { FRAME_COST } from "./frame-cost.js";
import type { Stream } from "./stream.js";

/** How many bytes do not wait for the end of their turn: the other end begins with them while this one goes on. */
const ENOUGH_BYTES = 1000;
/** How many bytes leave in one WebSocket message, about: a message of 64 KiB, as files have them, fits whole. */
const BATCH_BYTES = 65 * 1024;
/** The most bytes of a message in one frame while other streams wait for their turn, so that none holds the others up. */
const PIECE_BYTES = 16 * 1024;
/** How many bytes may wait in the socket before it is given no more. */
const HIGH_WATER = 64 * 1024;
/** How many bytes may wait for a peer that reads nothing and asks for answers. */
const MOST_WAITING = 4 * 1024 * 1024;

/**
 * The writing side of a session: the frames of one turn of the event loop leave together, what controls before
 * what carries, and of what carries a piece of each stream in turn, as far as credit and the socket allow it.
 */
export class Sender {
  /** Where frames are written that wait for nothing; schedule() has to follow. */
  readonly out = new ByteWriter();
  /** How many bytes of messages may be sent, on all streams together. */
  credit: number;
  readonly #socket: () => Socket;
  readonly #onSent: () => void;
  readonly #onFault: (fault: ProtocolError) => void;
  #round: Stream[] = [];
  #isScheduled = false;
  #isFlushing = false;
  #isBlocked = false;
  #isClosed = false;

  constructor(
    socket: () => Socket,
    credit: number,
    onSent: () => void,
    onFault: (fault: ProtocolError) => void,
  ) {
    this.#socket = socket;
    this.credit = credit;
    this.#onSent = onSent;
    this.#onFault = onFault;
  }

  /** Sends what there is at the end of this turn, or now where it is enough. */
  schedule(): void {
    if (this.out.length >= ENOUGH_BYTES && !this.#isFlushing) this.#flushNow();
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    queueMacrotask(this.#flush);
  }

  /** Writes a small message behind the frames that wait already, if credit and the socket allow it. */
  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean {
    if (bytes.length > PIECE_BYTES || !this.#takesMore) return false;
    const cost = bytes.length + FRAME_COST;
    if (cost > stream.sendCredit || cost > this.credit) return false;
    stream.sendCredit -= cost;
    this.credit -= cost;
    writeMessage(this.out, stream.id, bytes, end);
    this.schedule();
    return true;
  }

  /** Writes what a stream has that is small, as tryWrite() does, or gives it its place in the round. */
  enqueue(stream: Stream): void {
    if (stream.isQueued || stream.id === 0) return;
    const isNext = this.#round.length === 0 && this.#takesMore;
    if (isNext && stream.nextSize <= PIECE_BYTES) this.#writePiece(stream, PIECE_BYTES);
    else this.#keep(stream);
    this.schedule();
  }

  get #takesMore(): boolean {
    return !this.#isBlocked && this.out.length <= BATCH_BYTES;
  }

  /** Takes a stream out of the round. */
  remove(stream: Stream): void {
    if (!stream.isQueued) return;
    stream.isQueued = false;
    const at = this.#round.indexOf(stream);
    if (at >= 0) this.#round.splice(at, 1);
  }

  /** The socket takes more again. */
  unblock(): void {
    this.#isBlocked = false;
    if (this.out.length > 0 || this.#round.length > 0) this.schedule();
  }

  /** Sends what has been written, and nothing more. */
  close(): void {
    if (!this.#isClosed) this.#send();
    this.stop();
  }

  /** Sends nothing more. */
  stop(): void {
    this.#isClosed = true;
    this.#round = [];
  }

  #send(): void {
    if (this.out.length === 0) return;
    const bytes = this.out.take();
    this.#socket().send(bytes, () => releaseBytes(bytes));
    this.#onSent();
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.#flushNow();
  };

  #flushNow(): void {
    if (this.#isClosed) return;
    const socket = this.#socket();
    if (this.#isBlocked || socket.bufferedBytes > HIGH_WATER) {
      this.#isBlocked = true;
      if (this.out.length > MOST_WAITING) {
        this.#onFault(new ProtocolError("too much waits for a peer that reads nothing", CLOSE_CODE.limit));
      }
      return;
    }
    this.#isFlushing = true;
    const isMore = this.#writePieces();
    this.#isFlushing = false;
    this.#send();
    if (isMore) this.schedule();
  }

  /** A piece of each stream in turn, until the message is full. Whether there is more that could be written. */
  #writePieces(): boolean {
    // One at least: small messages alone could fill every message.
    let room = Math.max(BATCH_BYTES - this.out.length, 1);
    while (room > 0) {
      if (this.#round.length === 0 || this.credit <= FRAME_COST) return false;
      const turn = this.#round;
      this.#round = [];
      const most = turn.length === 1 ? room : PIECE_BYTES;
      for (const [i, stream] of turn.entries()) {
        if (room <= 0) {
          // Before those that have had their turn.
          this.#round = turn.slice(i).concat(this.#round);
          return true;
        }
        room -= this.#writePiece(stream, most);
      }
    }
    return this.#round.length > 0;
  }

  /** Writes at most `room` bytes of what the stream has; what it cost. */
  #writePiece(stream: Stream, room: number): number {
    stream.isQueued = false;
    if (stream.isClosed || !stream.hasPending) return 0;
    const most = Math.min(room, stream.sendCredit - FRAME_COST, this.credit - FRAME_COST);
    // Without credit it waits for it; but an empty message needs no more than its frame.
    if (most < 0 || (most === 0 && stream.nextSize > 0)) {
      if (this.credit <= FRAME_COST) this.#keep(stream);
      return 0;
    }
    const cost = stream.writePiece(this.out, most) + FRAME_COST;
    stream.sendCredit -= cost;
    this.credit -= cost;
    if (stream.hasPending) this.#keep(stream);
    return cost;
  }

  #keep(stream: Stream): void {
    stream.isQueued = true;
    this.#round.push(stream);
  }
}
