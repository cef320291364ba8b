import { queueMacrotask } from "../../lib/set-immediate.js";
import type { Socket } from "../socket/socket.js";
import { ByteWriter, releaseBytes } from "../wire/bytes.js";
import { CLOSE_CODE, ProtocolError } from "../wire/protocol-error.js";
import { writeMessage } from "../wire/write-frame.js";
import { FRAME_COST } from "./frame-cost.js";
import type { Stream } from "./stream.js";

/** From this many bytes on, a batch leaves before the turn of the event loop ends, so that the other end can begin. */
const EARLY_FLUSH_BYTES = 1000;
/** The approximate size of a WebSocket message: a file chunk of 64 KiB fits whole. */
const BATCH_BYTES = 65 * 1024;
/** The most bytes of a MESSAGE frame while other streams have something to send. */
const PIECE_BYTES = 16 * 1024;
/** Above this many bytes in the socket, nothing more is sent. */
const HIGH_WATER_BYTES = 64 * 1024;
/** The most bytes of control frames that wait for a peer that sends but does not read. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/**
 * The sending direction of a session. The frames of one turn of the event loop leave together: control frames first,
 * then a piece of each stream, round robin, as far as credit and the socket allow.
 */
export class Sender {
  /** The frames that leave next. Whoever writes to it has to call schedule(). */
  readonly out = new ByteWriter();
  /** The connection's credit: the bytes that may be sent on all streams together. */
  credit: number;
  readonly #socket: () => Socket;
  readonly #onSent: () => void;
  readonly #onError: (error: ProtocolError) => void;
  /** The streams that have pending messages, in the order of their turns. */
  #queue: Stream[] = [];
  #isScheduled = false;
  #isFlushing = false;
  #isBlocked = false;
  #isClosed = false;

  constructor(
    socket: () => Socket,
    credit: number,
    onSent: () => void,
    onError: (error: ProtocolError) => void,
  ) {
    this.#socket = socket;
    this.credit = credit;
    this.#onSent = onSent;
    this.#onError = onError;
  }

  /**
   * The batch that leaves next, for a frame that needs no credit: all but MESSAGE. A closed sender drops it. Nothing is
   * sent before the frame is written: what a flush sends may end the frame's stream.
   */
  get batch(): ByteWriter {
    this.#flushLater();
    return this.out;
  }

  /** Sends the batch at the end of this turn of the event loop, or at once if it is large enough. */
  schedule(): void {
    if (this.out.length >= EARLY_FLUSH_BYTES && !this.#isFlushing) this.#flushNow();
    this.#flushLater();
  }

  #flushLater(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    queueMacrotask(this.#flush);
  }

  /** Writes a small message into the batch if credit and the socket allow it. Returns whether it did. */
  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean {
    if (bytes.length > PIECE_BYTES || !this.#hasRoom) return false;
    const cost = bytes.length + FRAME_COST;
    if (cost > stream.sendCredit || cost > this.credit) return false;
    stream.sendCredit -= cost;
    this.credit -= cost;
    writeMessage(this.out, stream.id, bytes, end);
    this.schedule();
    return true;
  }

  /** Queues a stream that has pending messages. If no other one is queued, a small message is written at once. */
  enqueue(stream: Stream): void {
    if (stream.isQueued || stream.id === 0) return;
    const isNext = this.#queue.length === 0 && this.#hasRoom;
    if (isNext && stream.nextSize <= PIECE_BYTES) this.#writePiece(stream, PIECE_BYTES);
    else this.#addToQueue(stream);
    this.schedule();
  }

  get #hasRoom(): boolean {
    return !this.#isBlocked && this.out.length <= BATCH_BYTES;
  }

  /** Removes a stream from the queue. */
  remove(stream: Stream): void {
    if (!stream.isQueued) return;
    stream.isQueued = false;
    const index = this.#queue.indexOf(stream);
    if (index >= 0) this.#queue.splice(index, 1);
  }

  /** Goes on after the socket has drained. */
  unblock(): void {
    this.#isBlocked = false;
    if (this.out.length > 0 || this.#queue.length > 0) this.schedule();
  }

  /** Sends the batch, and nothing more. */
  close(): void {
    if (!this.#isClosed) this.#send();
    this.stop();
  }

  /** Sends nothing more. */
  stop(): void {
    this.#isClosed = true;
    this.#queue = [];
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
    if (this.#isBlocked || socket.bufferedBytes > HIGH_WATER_BYTES) {
      this.#isBlocked = true;
      if (this.out.length > MAX_WAITING_BYTES) {
        this.#onError(new ProtocolError("too much waits for a peer that reads nothing", CLOSE_CODE.limit));
      }
      return;
    }
    this.#isFlushing = true;
    const isMore = this.#writePieces();
    this.#isFlushing = false;
    this.#send();
    if (isMore) this.schedule();
  }

  /** Writes a piece of each queued stream in turn until the batch is full. Returns whether more could be written. */
  #writePieces(): boolean {
    // At least one piece: control frames and small messages alone could fill every batch.
    let room = Math.max(BATCH_BYTES - this.out.length, 1);
    while (room > 0) {
      if (this.#queue.length === 0 || this.credit <= FRAME_COST) return false;
      const round = this.#queue;
      this.#queue = [];
      const maxBytes = round.length === 1 ? room : PIECE_BYTES;
      for (const [i, stream] of round.entries()) {
        if (room <= 0) {
          // Those that had no turn come first.
          this.#queue = round.slice(i).concat(this.#queue);
          return true;
        }
        room -= this.#writePiece(stream, maxBytes);
      }
    }
    return this.#queue.length > 0;
  }

  /** Writes a piece of at most `maxBytes` of the stream's next message. Returns its cost. */
  #writePiece(stream: Stream, maxBytes: number): number {
    stream.isQueued = false;
    if (stream.isClosed || !stream.hasPending) return 0;
    const size = Math.min(maxBytes, stream.sendCredit - FRAME_COST, this.credit - FRAME_COST);
    // Without credit the stream waits; an empty message needs credit for its frame only.
    if (size < 0 || (size === 0 && stream.nextSize > 0)) {
      if (this.credit <= FRAME_COST) this.#addToQueue(stream);
      return 0;
    }
    const cost = stream.writePiece(this.out, size) + FRAME_COST;
    stream.sendCredit -= cost;
    this.credit -= cost;
    if (stream.hasPending) this.#addToQueue(stream);
    return cost;
  }

  #addToQueue(stream: Stream): void {
    stream.isQueued = true;
    this.#queue.push(stream);
  }
}
