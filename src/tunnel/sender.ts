import { soon } from "../internal/soon.js";
import { ByteWriter } from "./bytes.js";
import { CLOSE, ProtocolFault } from "./fault.js";
import { writeMessage } from "./frame.js";
import type { Socket } from "./socket.js";
import { FRAME_COST, type Stream } from "./stream.js";

/** How many bytes leave in one WebSocket message, about. */
const BATCH_BYTES = 64 * 1024;
/** The most bytes of a message in one frame, so that no stream holds the others up. */
const PIECE_BYTES = 16 * 1024;
/** How many bytes may wait in the socket before it is given no more. */
const HIGH_WATER = 128 * 1024;
/** How many bytes may wait for a peer that reads nothing and asks for answers. */
const MOST_WAITING = 4 * 1024 * 1024;

/**
 * The writing side of a session: all frames of one turn of the event loop leave in one message, what controls before
 * what carries, and of what carries a piece of each stream in turn, as far as credit and the socket allow it.
 */
export class Sender {
  /** Where frames are written that wait for nothing; schedule() has to follow. */
  readonly out = new ByteWriter();
  /** How many bytes of messages may be sent, on all streams together. */
  credit: number;
  readonly #socket: () => Socket;
  readonly #onSent: () => void;
  readonly #onFault: (fault: ProtocolFault) => void;
  #round: Stream[] = [];
  #isScheduled = false;
  #isBlocked = false;
  #isClosed = false;

  constructor(
    socket: () => Socket,
    credit: number,
    onSent: () => void,
    onFault: (fault: ProtocolFault) => void,
  ) {
    this.#socket = socket;
    this.credit = credit;
    this.#onSent = onSent;
    this.#onFault = onFault;
  }

  /** Sends what there is at the end of this turn. */
  schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    soon(this.#flush);
  }

  /** Writes a small message behind the frames that wait already, if credit and the socket allow it. */
  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean {
    if (bytes.length > PIECE_BYTES || this.#isBlocked || this.out.length > BATCH_BYTES) return false;
    const cost = bytes.length + FRAME_COST;
    if (cost > stream.sendCredit || cost > this.credit) return false;
    stream.sendCredit -= cost;
    this.credit -= cost;
    writeMessage(this.out, stream.id, bytes, end);
    this.schedule();
    return true;
  }

  /** Gives a stream that has something to write its place in the round. */
  enqueue(stream: Stream): void {
    if (stream.isQueued || stream.id === 0) return;
    stream.isQueued = true;
    this.#round.push(stream);
    this.schedule();
  }

  /** Takes a stream out of the round. */
  forget(stream: Stream): void {
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
    this.#socket().send(this.out.take());
    this.#onSent();
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    if (this.#isClosed) return;
    const socket = this.#socket();
    if (this.#isBlocked || socket.buffered > HIGH_WATER) {
      this.#isBlocked = true;
      if (this.out.length > MOST_WAITING) {
        this.#onFault(new ProtocolFault("too much waits for a peer that reads nothing", CLOSE.limit));
      }
      return;
    }
    const isMore = this.#writePieces();
    this.#send();
    if (isMore) this.schedule();
  };

  /** A piece of each stream in turn, until the message is full. Whether there is more that could be written. */
  #writePieces(): boolean {
    // One at least: small messages alone could fill every message.
    let room = Math.max(BATCH_BYTES - this.out.length, 1);
    while (room > 0) {
      if (this.#round.length === 0 || this.credit <= FRAME_COST) return false;
      const turn = this.#round;
      this.#round = [];
      for (const [i, stream] of turn.entries()) {
        if (room <= 0) {
          // Before those that have had their turn.
          this.#round = turn.slice(i).concat(this.#round);
          return true;
        }
        room -= this.#writePiece(stream);
      }
    }
    return this.#round.length > 0;
  }

  #writePiece(stream: Stream): number {
    stream.isQueued = false;
    if (stream.isOver || !stream.hasPending) return 0;
    const most = Math.min(PIECE_BYTES, stream.sendCredit - FRAME_COST, this.credit - FRAME_COST);
    // Without credit it waits for it; but an empty message needs no more than its frame.
    if (most < 0 || (most === 0 && stream.nextIsLarger)) {
      if (this.credit <= FRAME_COST) this.#keep(stream);
      return 0;
    }
    const { bytes, end, more } = stream.nextPiece(most);
    const cost = bytes.length + FRAME_COST;
    stream.sendCredit -= cost;
    this.credit -= cost;
    writeMessage(this.out, stream.id, bytes, end, more);
    stream.pieceWritten();
    if (stream.hasPending) this.#keep(stream);
    return cost;
  }

  #keep(stream: Stream): void {
    stream.isQueued = true;
    this.#round.push(stream);
  }
}
