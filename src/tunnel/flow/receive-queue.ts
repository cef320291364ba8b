import { Code, type ConnectError } from "@connectrpc/connect";
import type { CallStatus } from "../wire/frame.js";
import type { CheckMessage } from "../wire/limits.js";

/** The part of a stream that its receive queue uses. */
export interface ReceiveQueueOwner {
  /** Delivers a message that pull() asked for. */
  deliverMessage(bytes: Uint8Array): void;
  /** The half has ended, after all of its messages. */
  deliverEnd(status: CallStatus): void;
  /** A message is larger than this end accepts; nothing follows. */
  deliverError(error: ConnectError): void;
  /** `bytes` were consumed or discarded: their credit can be returned. */
  consume(bytes: number): void;
  /** The buffered bytes of incomplete messages change by `change`. Returns the error if they are too many. */
  countPartial(change: number): ConnectError | undefined;
}

/** A message, or a piece of one if `more` follow. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly more: boolean;
}

/** The received messages of a stream. They wait until they are pulled; only then their credit is returned. */
export class ReceiveQueue {
  readonly #owner: ReceiveQueueOwner;
  readonly #check: CheckMessage;
  #waiting: Piece[] = NO_PIECES;
  /** The index of the next piece in `#waiting`. */
  #next = 0;
  /** The pieces so far of an incomplete message, and how many of their bytes the owner has counted. */
  #partial: Uint8Array[] = NO_BYTES;
  #partialBytes = 0;
  #countedBytes = 0;
  #status: CallStatus | undefined;
  #isPulled = false;
  #isDelivering = false;
  #isDiscarding = false;

  constructor(owner: ReceiveQueueOwner, check: CheckMessage) {
    this.#owner = owner;
    this.#check = check;
  }

  /** Asks for the next message. */
  pull(): void {
    this.#isPulled = true;
    this.deliver();
  }

  /** Discards what waits and everything that is received later. */
  discard(): void {
    this.#isDiscarding = true;
    this.#dropPartial();
    if (this.#isEmpty) return;
    const discarded = this.#waiting.slice(this.#next);
    this.#waiting = NO_PIECES;
    this.#next = 0;
    for (const { bytes } of discarded) this.#owner.consume(bytes.length);
  }

  /** Adds a received piece. Returns whether the caller has to call deliver(). */
  add(bytes: Uint8Array, more: boolean): boolean {
    if (this.#isDiscarding) {
      this.#owner.consume(bytes.length);
      return true;
    }
    const isFirst = this.#isEmpty && this.#partial.length === 0;
    if (!this.#isPulled || more || !isFirst || this.#isDelivering) {
      if (this.#isEmpty) this.#waiting = [];
      this.#waiting.push({ bytes, more });
      return true;
    }
    // The fast path: nearly all messages are complete and have been pulled.
    this.#owner.consume(bytes.length);
    const error = this.#check(bytes.length);
    if (error) {
      this.#fail(error);
      return false;
    }
    this.#isPulled = false;
    this.#isDelivering = true;
    this.#owner.deliverMessage(bytes);
    this.#isDelivering = false;
    return this.#isPulled;
  }

  /** Ends the half with `status`. The caller has to call deliver(). */
  end(status: CallStatus): void {
    this.#status ??= status;
  }

  /** Delivers what is pulled, as far as it has been received. */
  deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    const error = this.#deliverMessages();
    this.#isDelivering = false;
    if (error) {
      this.#fail(error);
      return;
    }
    if (!this.#status || !this.#isEmpty || this.#isDiscarding) return;
    this.#isDiscarding = true;
    this.#owner.deliverEnd(this.#partial.length > 0 ? TRUNCATED_STATUS : this.#status);
  }

  #deliverMessages(): ConnectError | undefined {
    while (this.#isPulled && !this.#isEmpty) {
      const { bytes, more } = this.#takePiece();
      this.#owner.consume(bytes.length);
      const isWhole = !more && this.#partial.length === 0;
      const error = isWhole ? this.#check(bytes.length) : this.#addPartial(bytes);
      if (error) return error;
      if (more) continue;
      const message = isWhole ? bytes : concat(this.#partial, this.#partialBytes);
      if (!isWhole) this.#dropPartial();
      this.#isPulled = false;
      this.#owner.deliverMessage(message);
    }
    return undefined;
  }

  get #isEmpty(): boolean {
    return this.#next === this.#waiting.length;
  }

  #takePiece(): Piece {
    const piece = this.#waiting[this.#next++] as Piece;
    if (this.#isEmpty) {
      this.#waiting = NO_PIECES;
      this.#next = 0;
    }
    return piece;
  }

  #addPartial(bytes: Uint8Array): ConnectError | undefined {
    if (this.#partial.length === 0) this.#partial = [];
    this.#partial.push(bytes);
    this.#partialBytes += bytes.length;
    const error = this.#check(this.#partialBytes);
    if (error) return error;
    this.#countedBytes += bytes.length;
    return this.#owner.countPartial(bytes.length);
  }

  #dropPartial(): void {
    if (this.#countedBytes > 0) this.#owner.countPartial(-this.#countedBytes);
    this.#countedBytes = 0;
    this.#partial = NO_BYTES;
    this.#partialBytes = 0;
  }

  #fail(error: ConnectError): void {
    this.discard();
    this.#owner.deliverError(error);
  }
}

// Most streams never need an array of their own.
const NO_PIECES: Piece[] = [];
const NO_BYTES: Uint8Array[] = [];

const TRUNCATED_STATUS: CallStatus = {
  code: Code.Internal,
  text: "the stream ended within a message",
  details: [],
  trailers: [],
};

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
