import { Code, type ConnectError } from "@connectrpc/connect";
import type { Status } from "./frame.js";
import type { CheckMessage } from "./limits.js";

/** What an inbox needs of its stream. */
export interface Reader {
  /** A message that was asked for. */
  message(bytes: Uint8Array): void;
  /** The half has ended, after all of its messages. */
  ended(status: Status): void;
  /** A message is more than this end takes; nothing comes after that. */
  refused(error: ConnectError): void;
  /** So many bytes were taken: they are to be paid for. */
  took(bytes: number): void;
  /** So many bytes more, or fewer, are there of messages that are not whole; what stands against it. */
  arriving(change: number): ConnectError | undefined;
}

/** A part of a message as it came. */
interface Part {
  readonly bytes: Uint8Array;
  readonly more: boolean;
}

/** The messages that a stream receives: they wait until they are asked for, and are paid for then. */
export class Inbox {
  readonly #reader: Reader;
  readonly #check: CheckMessage;
  #waiting: Part[] = [];
  /** The first part that has not been handed over. */
  #first = 0;
  /** The parts of a message that is not whole yet, and how much of them has been told of. */
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #counted = 0;
  #status: Status | undefined;
  #isAsked = false;
  #isDelivering = false;
  #isDeaf = false;

  constructor(reader: Reader, check: CheckMessage) {
    this.#reader = reader;
    this.#check = check;
  }

  /** Asks for the next message. */
  pull(): void {
    this.#isAsked = true;
    this.deliver();
  }

  /** Wants nothing more: what comes is thrown away. */
  deafen(): void {
    this.#isDeaf = true;
    this.#forgetParts();
    for (const { bytes } of this.#waiting.slice(this.#first)) this.#reader.took(bytes.length);
    this.#waiting = [];
    this.#first = 0;
  }

  /** Takes what came. Whether deliver() has to follow. */
  add(bytes: Uint8Array, more: boolean): boolean {
    if (this.#isDeaf) {
      this.#reader.took(bytes.length);
      return true;
    }
    const isFirst = this.#isEmpty && this.#parts.length === 0;
    if (!this.#isAsked || more || !isFirst || this.#isDelivering) {
      this.#waiting.push({ bytes: kept(bytes), more });
      return true;
    }
    // What nearly all messages are: whole, and awaited.
    this.#reader.took(bytes.length);
    const fault = this.#check(bytes.length);
    if (fault) {
      this.#refuse(fault);
      return false;
    }
    this.#isAsked = false;
    this.#isDelivering = true;
    this.#reader.message(kept(bytes));
    this.#isDelivering = false;
    return this.#isAsked;
  }

  /** Nothing comes any more, and how that half went; deliver() has to follow. */
  end(status: Status): void {
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
    this.#reader.ended(this.#parts.length > 0 ? CUT : this.#status);
  }

  #handOver(): ConnectError | undefined {
    while (this.#isAsked && !this.#isEmpty) {
      const { bytes, more } = this.#takePart();
      this.#reader.took(bytes.length);
      const isPart = more || this.#partBytes > 0;
      this.#partBytes += bytes.length;
      this.#parts.push(bytes);
      const fault = this.#check(this.#partBytes) ?? (isPart ? this.#count(bytes.length) : undefined);
      if (fault) return fault;
      if (more) continue;
      const message = joined(this.#parts, this.#partBytes);
      this.#forgetParts();
      this.#isAsked = false;
      this.#reader.message(message);
    }
    return undefined;
  }

  get #isEmpty(): boolean {
    return this.#first === this.#waiting.length;
  }

  #takePart(): Part {
    const part = this.#waiting[this.#first++] as Part;
    if (this.#isEmpty) {
      this.#waiting = [];
      this.#first = 0;
    }
    return part;
  }

  #refuse(fault: ConnectError): void {
    this.deafen();
    this.#reader.refused(fault);
  }

  /** Counts a part of a message that is not whole. */
  #count(bytes: number): ConnectError | undefined {
    this.#counted += bytes;
    return this.#reader.arriving(bytes);
  }

  #forgetParts(): void {
    if (this.#counted > 0) this.#reader.arriving(-this.#counted);
    this.#counted = 0;
    this.#parts = [];
    this.#partBytes = 0;
  }
}

const CUT: Status = {
  code: Code.Internal,
  text: "the stream ended within a message",
  details: [],
  trailers: [],
};

/** Bytes as they may be kept: a few out of many are copied, so that they do not keep all of them in memory. */
const kept = (bytes: Uint8Array): Uint8Array =>
  bytes.length * 4 < bytes.buffer.byteLength ? bytes.slice() : bytes;

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (only && parts.length === 1) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
