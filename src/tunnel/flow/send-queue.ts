import type { ByteWriter } from "../wire/bytes.js";
import { writeMessage } from "../wire/frame.js";
import { FRAME_COST } from "./frame-cost.js";

/** How many bytes may wait to be written before a writer is asked to wait. */
const ENOUGH_PENDING = 64 * 1024;

/** The messages that a stream sends: those that wait for credit, and those that may have to be sent again elsewhere. */
export class SendQueue {
  readonly #messages: Uint8Array[] = [];
  /** How the last of them goes on, in memory that is not the tunnel's. */
  #tail: Uint8Array | undefined;
  /** The next message to be written, and how much of it is. */
  #next = 0;
  #written = 0;
  #pendingBytes = 0;

  /** How many bytes wait to be written, with what their frames cost. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Adds a message that waits. Its `tail` must stay as it is until there is room again. */
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

  /** Whether something waits to be written. */
  get hasPending(): boolean {
    return this.#next < this.#messages.length;
  }

  /** Whether a writer had better wait before it adds more. */
  get isFull(): boolean {
    return this.#pendingBytes >= ENOUGH_PENDING || this.#tail !== undefined;
  }

  /** How many bytes of the next message have still to be written. */
  get nextSize(): number {
    return (this.#messages[this.#next] as Uint8Array).length + this.#tailOfNext.length - this.#written;
  }

  get #tailOfNext(): Uint8Array {
    return this.#tail && this.#next === this.#messages.length - 1 ? this.#tail : NONE;
  }

  /** Writes the next piece, of at most `most` bytes, with the end of the half if it is the last; how many they were. */
  writePiece(to: ByteWriter, id: number, most: number, endsHere: boolean): number {
    const head = this.#messages[this.#next] as Uint8Array;
    const tail = this.#tailOfNext;
    const rest = this.nextSize;
    const size = Math.min(most, rest);
    const from = this.#written;
    const isLast = size === rest;
    this.#pendingBytes -= size;
    if (isLast) {
      this.#pendingBytes -= FRAME_COST;
      this.#written = 0;
      this.#next++;
      if (tail !== NONE) this.#tail = undefined;
    } else {
      this.#written += size;
    }
    const end = endsHere && !this.hasPending;
    const inTail = Math.max(from - head.length, 0);
    const part = head.subarray(from, from + size);
    writeMessage(to, id, part, end, !isLast, tail.subarray(inTail, inTail + size - part.length));
    return size;
  }

  /** Forgets what has been written: it will not be sent again. */
  forgetWritten(): void {
    this.#messages.splice(0, this.#next);
    this.#next = 0;
  }

  /** Goes back to the first message that is kept. */
  rewind(): void {
    this.#next = 0;
    this.#written = 0;
    this.#pendingBytes = this.#tail?.length ?? 0;
    for (const { length } of this.#messages) this.#pendingBytes += length + FRAME_COST;
  }

  clear(): void {
    this.#messages.length = 0;
    this.#tail = undefined;
    this.#next = 0;
    this.#written = 0;
    this.#pendingBytes = 0;
  }
}

const NONE = new Uint8Array();
