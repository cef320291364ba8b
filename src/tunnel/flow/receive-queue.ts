import { Code, type ConnectError } from "@connectrpc/connect";
import type { CallStatus } from "../wire/frame.js";
import type { CheckMessage } from "../wire/limits.js";

/** What an inbox needs of its stream. */
export interface ReceiveQueueOwner {
  /** A message that was asked for. */
  deliverMessage(bytes: Uint8Array): void;
  /** The half has ended, after all of its messages. */
  deliverEnd(status: CallStatus): void;
  /** A message is more than this end takes; nothing comes after that. */
  deliverError(error: ConnectError): void;
  /** So many bytes were taken: they are to be paid for. */
  consume(bytes: number): void;
  /** So many bytes more, or fewer, are there of messages that are not whole; what stands against it. */
  countPartial(change: number): ConnectError | undefined;
}

/** A part of a message as it came. */
interface Part {
  readonly bytes: Uint8Array;
  readonly more: boolean;
}

/** The messages that a stream receives: they wait until they are asked for, and are paid for then. */
export class ReceiveQueue {
  readonly #reader: ReceiveQueueOwner;
  readonly #check: CheckMessage;
  #waiting: Part[] = NO_PARTS;
  /** The first part that has not been handed over. */
  #first = 0;
  /** The parts of a message that is not whole yet, and how much of them has been told of. */
  #parts: Uint8Array[] = NO_BYTES;
  #partBytes = 0;
  #counted = 0;
  #status: CallStatus | undefined;
  #isAsked = false;
  #isDelivering = false;
  #isDeaf = false;

  constructor(reader: ReceiveQueueOwner, check: CheckMessage) {
    this.#reader = reader;
    this.#check = check;
  }

  /** Asks for the next message. */
  pull(): void {
    this.#isAsked = true;
    this.deliver();
  }

  /** Wants nothing more: what comes is thrown away. */
  discard(): void {
    this.#isDeaf = true;
    this.#forgetParts();
    if (this.#isEmpty) return;
    const thrownAway = this.#waiting.slice(this.#first);
    this.#waiting = NO_PARTS;
    this.#first = 0;
    for (const { bytes } of thrownAway) this.#reader.consume(bytes.length);
  }

  /** Takes what came. Whether deliver() has to follow. */
  add(bytes: Uint8Array, more: boolean): boolean {
    if (this.#isDeaf) {
      this.#reader.consume(bytes.length);
      return true;
    }
    const isFirst = this.#isEmpty && this.#parts.length === 0;
    if (!this.#isAsked || more || !isFirst || this.#isDelivering) {
      if (this.#isEmpty) this.#waiting = [];
      this.#waiting.push({ bytes, more });
      return true;
    }
    // What nearly all messages are: whole, and awaited.
    this.#reader.consume(bytes.length);
    const fault = this.#check(bytes.length);
    if (fault) {
      this.#refuse(fault);
      return false;
    }
    this.#isAsked = false;
    this.#isDelivering = true;
    this.#reader.deliverMessage(bytes);
    this.#isDelivering = false;
    return this.#isAsked;
  }

  /** Nothing comes any more, and how that half went; deliver() has to follow. */
  end(status: CallStatus): void {
    this.#status ??= status;
  }

  /** Hands over what is asked for, as far as it is there. */
  deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    const fault = this.#handOver();
    this.#isDelivering = false;
    if (fault) {
      this.#refuse(fault);
      return;
    }
    if (!this.#status || !this.#isEmpty || this.#isDeaf) return;
    this.#isDeaf = true;
    this.#reader.deliverEnd(this.#parts.length > 0 ? CUT : this.#status);
  }

  #handOver(): ConnectError | undefined {
    while (this.#isAsked && !this.#isEmpty) {
      const { bytes, more } = this.#takePart();
      this.#reader.consume(bytes.length);
      const isWhole = !more && this.#parts.length === 0;
      const fault = isWhole ? this.#check(bytes.length) : this.#addPart(bytes);
      if (fault) return fault;
      if (more) continue;
      const message = isWhole ? bytes : joined(this.#parts, this.#partBytes);
      if (!isWhole) this.#forgetParts();
      this.#isAsked = false;
      this.#reader.deliverMessage(message);
    }
    return undefined;
  }

  #addPart(bytes: Uint8Array): ConnectError | undefined {
    if (this.#parts.length === 0) this.#parts = [];
    this.#parts.push(bytes);
    this.#partBytes += bytes.length;
    return this.#check(this.#partBytes) ?? this.#count(bytes.length);
  }

  get #isEmpty(): boolean {
    return this.#first === this.#waiting.length;
  }

  #takePart(): Part {
    const part = this.#waiting[this.#first++] as Part;
    if (this.#isEmpty) {
      this.#waiting = NO_PARTS;
      this.#first = 0;
    }
    return part;
  }

  #refuse(fault: ConnectError): void {
    this.discard();
    this.#reader.deliverError(fault);
  }

  /** Counts a part of a message that is not whole. */
  #count(bytes: number): ConnectError | undefined {
    this.#counted += bytes;
    return this.#reader.countPartial(bytes);
  }

  #forgetParts(): void {
    if (this.#counted > 0) this.#reader.countPartial(-this.#counted);
    this.#counted = 0;
    this.#parts = NO_BYTES;
    this.#partBytes = 0;
  }
}

// Most streams never need one of their own.
const NO_PARTS: Part[] = [];
const NO_BYTES: Uint8Array[] = [];

const CUT: CallStatus = {
  code: Code.Internal,
  text: "the stream ended within a message",
  details: [],
  trailers: [],
};

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
