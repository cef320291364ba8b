import type { ByteWriter } from "../wire/bytes.js";
import { writeMessage } from "../wire/write-frame.js";
import { FRAME_COST } from "./frame-cost.js";

/** From this many pending bytes on, the writer has to wait. */
const HIGH_WATER_BYTES = 64 * 1024;

/** The messages of a stream that wait for credit, and those that are kept to be sent again on another session. */
export class SendQueue {
  readonly #messages: Uint8Array[] = [];
  /** The rest of the last message, in memory that belongs to the app. */
  #tail: Uint8Array | undefined;
  /** The index of the next message to be written, and how many of its bytes are. */
  #next = 0;
  #writtenBytes = 0;
  #pendingBytes = 0;

  /** The bytes that wait to be written, with the cost of their frames. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Adds a message to be written. Its `tail` must not change until the queue is no longer full. */
  add(bytes: Uint8Array, tail?: Uint8Array): void {
    this.#messages.push(bytes);
    this.#tail = tail;
    this.#pendingBytes += bytes.length + (tail?.length ?? 0) + FRAME_COST;
  }

  /** Keeps a message that has been written already. */
  keep(bytes: Uint8Array): void {
    this.#messages.push(bytes);
    this.#next++;
  }

  get hasPending(): boolean {
    return this.#next < this.#messages.length;
  }

  /** Whether the writer should wait before it adds more. */
  get isFull(): boolean {
    return this.#pendingBytes >= HIGH_WATER_BYTES || this.#tail !== undefined;
  }

  /** The bytes of the next message that are not written yet. */
  get nextSize(): number {
    return (this.#messages[this.#next] as Uint8Array).length + this.#tailOfNext.length - this.#writtenBytes;
  }

  get #tailOfNext(): Uint8Array {
    return this.#tail && this.#next === this.#messages.length - 1 ? this.#tail : NO_BYTES;
  }

  /**
   * Writes the next piece, of at most `maxBytes`. With `endsHere` the last piece of all has the END flag. Returns the
   * size of the piece.
   */
  writePiece(to: ByteWriter, id: number, maxBytes: number, endsHere: boolean): number {
    const head = this.#messages[this.#next] as Uint8Array;
    const tail = this.#tailOfNext;
    const remaining = this.nextSize;
    const size = Math.min(maxBytes, remaining);
    const from = this.#writtenBytes;
    const isLast = size === remaining;
    this.#pendingBytes -= size;
    if (isLast) {
      this.#pendingBytes -= FRAME_COST;
      this.#writtenBytes = 0;
      this.#next++;
      if (tail !== NO_BYTES) this.#tail = undefined;
    } else {
      this.#writtenBytes += size;
    }
    const end = endsHere && !this.hasPending;
    const fromInTail = Math.max(from - head.length, 0);
    const part = head.subarray(from, from + size);
    writeMessage(to, id, part, end, !isLast, tail.subarray(fromInTail, fromInTail + size - part.length));
    return size;
  }

  /** Drops what has been written: it will not be sent again. */
  dropWritten(): void {
    this.#messages.splice(0, this.#next);
    this.#next = 0;
  }

  /** Goes back to the first message that is kept. */
  rewind(): void {
    this.#next = 0;
    this.#writtenBytes = 0;
    this.#pendingBytes = this.#tail?.length ?? 0;
    for (const { length } of this.#messages) this.#pendingBytes += length + FRAME_COST;
  }

  clear(): void {
    this.#messages.length = 0;
    this.#tail = undefined;
    this.#next = 0;
    this.#writtenBytes = 0;
    this.#pendingBytes = 0;
  }
}

const NO_BYTES = new Uint8Array();
