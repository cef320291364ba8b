import { Code, type ConnectError } from "@connectrpc/connect";
import type { HeaderList, Status } from "./frame.js";
import type { CheckMessage } from "./limits.js";

/** What a stream tells whoever calls or answers by it. */
export interface StreamEvents {
  /** A message that was asked for with pull(). */
  message(bytes: Uint8Array): void;
  /** The other half has ended, after all of its messages: a caller hears how, a handler only that. */
  ended(status: Status): void;
  /** Headers of the answer, before its first message. */
  headers?(header: HeaderList): void;
  /** It is over before its time: given up by the other end, or its socket was lost. Nothing comes after that. */
  failed(error: ConnectError): void;
  /** A message is more than this end takes; nothing comes after that, and the stream still has to be ended. */
  refused(error: ConnectError): void;
}

/** What a stream needs of the session that carries it. */
export interface Carrier {
  /** Writes a message at once if credit and socket allow it. */
  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean;
  /** Writes the rest of the stream's messages in turn with the others. */
  enqueue(stream: Stream): void;
  /** The end of a half that has nothing else to write: an answering half says how it went. */
  writeEnd(stream: Stream, status: Status | undefined): void;
  /** The app has taken what cost so much credit. */
  giveBack(stream: Stream, cost: number): void;
  /** One of the halves has ended. */
  finish(stream: Stream): void;
  /** So many bytes more, or fewer, are there of messages that are not whole; what stands against it. */
  arriving(stream: Stream, change: number): ConnectError | undefined;
}

/** What each frame costs beside its bytes, so that empty messages are not free. */
export const FRAME_COST = 32;

/** How many bytes may wait to be written before a writer is asked to wait. */
const ENOUGH_PENDING = 64 * 1024;

/** A part of a message as it came. */
interface Part {
  readonly bytes: Uint8Array;
  readonly more: boolean;
}

/**
 * One call, as one end sees it: a half that is sent and a half that is received. Messages wait on the sending half for
 * credit, and on the receiving half for pull(), whereby they are paid for.
 */
export class Stream {
  /** Set before anything can be told. */
  events: StreamEvents;
  /** What stands against a message of so many bytes. */
  readonly #check: CheckMessage;
  id = 0;
  carrier: Carrier | undefined;
  /** How many bytes may still be sent, and may still be received. */
  sendCredit = 0;
  receiveCredit = 0;
  receiveWindow = 0;
  /** What was taken and not yet given back. */
  owed = 0;
  /** Whether the stream is in the session's round. */
  isQueued = false;
  /** Whether the other end has shown that it has begun: what was sent up to then is kept, to be sent again elsewhere. */
  isTaken: boolean;
  /** Whether the sending half has ended, and all of it is written. */
  sendEnded = false;
  receiveEnded = false;
  /** Whether anything of the answer has come: its headers come before all else, and once. */
  hasAnswer = false;
  isOver = false;

  readonly #outbox: Uint8Array[] = [];
  /** The next message of the outbox to be written, and how much of it is. */
  #next = 0;
  #written = 0;
  #pendingBytes = 0;
  #endWanted = false;
  /** How the answering half ends, where the END of its last message does not say it. */
  #endStatus: Status | undefined;
  #drained: (() => void) | undefined;
  #onOver: (() => void) | undefined;

  #inbox: Part[] = [];
  /** The first part that has not been handed over. */
  #first = 0;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #counted = 0;
  #status: Status | undefined;
  #isAsked = false;
  #isDelivering = false;
  #isDeaf = false;

  constructor(events: StreamEvents, check: CheckMessage, isTaken: boolean) {
    this.events = events;
    this.#check = check;
    this.isTaken = isTaken;
  }

  /** Sends a message; `end`: the last one. What is sent when the stream is over is dropped. */
  send(bytes: Uint8Array, end = false): void {
    if (this.isOver || this.#endWanted) return;
    if (end) this.#endWanted = true;
    if (!this.hasPending && this.carrier?.tryWrite(this, bytes, end)) {
      if (end) this.#sent();
      if (this.isTaken) return;
      this.#outbox.push(bytes);
      this.#next++;
      return;
    }
    this.#outbox.push(bytes);
    this.#pendingBytes += bytes.length + FRAME_COST;
    this.carrier?.enqueue(this);
  }

  /** Ends the sending half, after what was sent: that of an answer with its status. */
  end(status?: Status): void {
    if (this.isOver || this.#endWanted) return;
    this.#endWanted = true;
    this.#endStatus = status;
    if (!this.hasPending && this.carrier) this.#writeEnd();
  }

  /** Whether a writer had better wait for drained() before it sends more. */
  get isFull(): boolean {
    return this.#pendingBytes >= ENOUGH_PENDING;
  }

  /** Resolves when there is room for more, or the stream is over. For one writer. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isOver || !this.isFull) resolve();
      else this.#drained = resolve;
    });
  }

  /** Has `task` run when nothing can be sent any more; of several the last one. At once, if that is so already. */
  whenOver(task: () => void): void {
    if (this.isOver) task();
    else this.#onOver = task;
  }

  /** Asks for the next message. */
  pull(): void {
    this.#isAsked = true;
    this.#deliver();
  }

  /** Wants nothing more of the other half: what comes of it is thrown away. */
  deafen(): void {
    this.#isDeaf = true;
    this.#forgetParts();
    for (const { bytes } of this.#inbox.slice(this.#first)) {
      this.carrier?.giveBack(this, bytes.length + FRAME_COST);
    }
    this.#inbox = [];
    this.#first = 0;
  }

  /** Ends both halves without a word to the app. What waits to be written is dropped. */
  drop(): void {
    this.deafen();
    this.close();
    this.carrier = undefined;
  }

  // What the session tells it.

  /** Sends nothing any more. What has been received is still there to be read. */
  close(): void {
    this.isOver = true;
    this.#outbox.length = 0;
    this.#next = 0;
    this.#pendingBytes = 0;
    this.#drained?.();
    this.#drained = undefined;
    this.#onOver?.();
    this.#onOver = undefined;
  }

  /** Whether something waits to be written. */
  get hasPending(): boolean {
    return this.#next < this.#outbox.length;
  }

  /** Whether what is left of the next message is more than its frame. */
  get nextIsLarger(): boolean {
    return (this.#outbox[this.#next] as Uint8Array).length > this.#written;
  }

  /** Goes back to the start, to begin on another session where nothing is known of it. */
  detach(): void {
    this.carrier = undefined;
    this.id = 0;
    this.#next = 0;
    this.#written = 0;
    this.#pendingBytes = 0;
    this.sendEnded = false;
    this.owed = 0;
    this.isQueued = false;
    for (const { length } of this.#outbox) this.#pendingBytes += length + FRAME_COST;
  }

  /** Writes what waits: all that fits, or a place in the round. */
  resume(): void {
    if (this.hasPending) this.carrier?.enqueue(this);
    else if (this.#endWanted && !this.sendEnded) this.#writeEnd();
  }

  /** The next piece to be written, of at most `most` bytes; pieceWritten() has to follow. */
  nextPiece(most: number): { bytes: Uint8Array; end: boolean; more: boolean } {
    const message = this.#outbox[this.#next] as Uint8Array;
    const bytes = message.subarray(this.#written, this.#written + most);
    this.#written += bytes.length;
    const more = this.#written < message.length;
    this.#pendingBytes -= bytes.length;
    if (!more) {
      this.#pendingBytes -= FRAME_COST;
      this.#written = 0;
      this.#next++;
      if (this.isTaken) this.#forgetWritten();
    }
    const end = this.#endWanted && !this.hasPending && !this.#endStatus;
    return { bytes, end, more };
  }

  pieceWritten(): void {
    if (this.#endWanted && !this.hasPending) {
      if (this.#endStatus) this.#writeEnd();
      else this.#sent();
    }
    if (this.isFull || !this.#drained) return;
    this.#drained();
    this.#drained = undefined;
  }

  /** The other end has begun with it: it will not be sent again. */
  taken(): void {
    if (this.isTaken) return;
    this.isTaken = true;
    this.#forgetWritten();
  }

  received(bytes: Uint8Array, more: boolean, end: boolean): void {
    this.hasAnswer = true;
    if (end) this.#status ??= WELL;
    if (this.#isDeaf) {
      this.carrier?.giveBack(this, bytes.length + FRAME_COST);
    } else if (this.#isAsked && !more && this.#isEmpty && this.#parts.length === 0 && !this.#isDelivering) {
      // What nearly all messages are: whole, and awaited.
      this.carrier?.giveBack(this, bytes.length + FRAME_COST);
      const fault = this.#check(bytes.length);
      if (fault) {
        this.#refuse(fault);
        return;
      }
      this.#isAsked = false;
      this.#isDelivering = true;
      this.events.message(bytes.slice());
      this.#isDelivering = false;
      if (!end && !this.#isAsked) return;
    } else {
      this.#inbox.push({ bytes: bytes.slice(), more });
    }
    if (end) this.#receiveEnds();
    this.#deliver();
  }

  /** The receiving half has ended. */
  finished(status: Status): void {
    this.#status ??= status;
    this.#receiveEnds();
    this.#deliver();
  }

  #receiveEnds(): void {
    this.receiveEnded = true;
    this.carrier?.finish(this);
  }

  #sent(): void {
    this.sendEnded = true;
    this.carrier?.finish(this);
  }

  #writeEnd(): void {
    this.carrier?.writeEnd(this, this.#endStatus);
    this.#sent();
  }

  #forgetWritten(): void {
    this.#outbox.splice(0, this.#next);
    this.#next = 0;
  }

  /** Hands over what is asked for, as far as it is there. */
  #deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    while (this.#isAsked && !this.#isEmpty) {
      const { bytes, more } = this.#takePart();
      this.carrier?.giveBack(this, bytes.length + FRAME_COST);
      const isPart = more || this.#partBytes > 0;
      this.#partBytes += bytes.length;
      this.#parts.push(bytes);
      const fault = this.#check(this.#partBytes) ?? (isPart ? this.#count(bytes.length) : undefined);
      if (fault) {
        this.#isDelivering = false;
        this.#refuse(fault);
        return;
      }
      if (more) continue;
      const message = joined(this.#parts, this.#partBytes);
      this.#forgetParts();
      this.#isAsked = false;
      this.events.message(message);
    }
    this.#isDelivering = false;
    if (this.#status && this.#isEmpty && !this.#isDeaf) {
      const status = this.#status;
      this.#isDeaf = true;
      this.events.ended(this.#parts.length > 0 ? CUT : status);
    }
  }

  get #isEmpty(): boolean {
    return this.#first === this.#inbox.length;
  }

  #takePart(): Part {
    const part = this.#inbox[this.#first++] as Part;
    if (this.#isEmpty) {
      this.#inbox = [];
      this.#first = 0;
    }
    return part;
  }

  #refuse(fault: ConnectError): void {
    this.deafen();
    this.events.refused(fault);
  }

  /** Counts a part of a message that is not whole. */
  #count(bytes: number): ConnectError | undefined {
    this.#counted += bytes;
    return this.carrier?.arriving(this, bytes);
  }

  #forgetParts(): void {
    if (this.#counted > 0) this.carrier?.arriving(this, -this.#counted);
    this.#counted = 0;
    this.#parts = [];
    this.#partBytes = 0;
  }
}

const WELL: Status = { code: 0, text: "", details: [], trailers: [] };

const CUT: Status = {
  code: Code.Internal,
  text: "the stream ended within a message",
  details: [],
  trailers: [],
};

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
