import type { ConnectError } from "@connectrpc/connect";
import type { OutgoingCall } from "../call/call.js";
import type { ByteWriter } from "../wire/bytes.js";
import { type CallStatus, type HeaderList, OK_STATUS } from "../wire/frame.js";
import type { CheckMessage } from "../wire/limits.js";
import { FRAME_COST } from "./frame-cost.js";
import { ReceiveQueue, type ReceiveQueueOwner } from "./receive-queue.js";
import { SendQueue } from "./send-queue.js";

/** What a stream tells whoever calls or answers by it. */
export interface StreamEvents {
  /** A message that was asked for with pull(). */
  onMessage(bytes: Uint8Array): void;
  /** The other half has ended, after all of its messages: a caller hears how, a handler only that. */
  onEnd(status: CallStatus): void;
  /** Headers of the answer, before its first message. */
  onHeaders?(header: HeaderList): void;
  /** It is over before its time: given up by the other end, or its socket was lost. Nothing comes after that. */
  onError(error: ConnectError): void;
  /** A message is more than this end takes; nothing comes after that, and the stream still has to be ended. */
  onRefused(error: ConnectError): void;
}

/** Counts what a call has in memory. */
export interface StreamUsage {
  /** The method that is called, as "/package.Service/Method". */
  readonly path: string;
  addArriving(change: number): ConnectError | undefined;
  addLeaving(change: number): void;
}

/** What a stream needs of the session that carries it. */
export interface StreamSession {
  /** Writes a message at once if credit and socket allow it. */
  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean;
  /** Writes the rest of the stream's messages in turn with the others. */
  enqueue(stream: Stream): void;
  /** The end of a half that has nothing else to write: an answering half says how it went. */
  writeEnd(stream: Stream, status: CallStatus | undefined): void;
  /** The app has taken what cost so much credit. */
  release(stream: Stream, cost: number): void;
  /** One of the halves has ended. */
  onHalfClosed(stream: Stream): void;
  /** So many bytes more, or fewer, are there of messages that are not whole; what stands against it. */
  addArriving(stream: Stream, change: number): ConnectError | undefined;
  /** So many bytes more, or fewer, wait to be written. */
  addLeaving(stream: Stream, change: number): void;
}

/**
 * One call, as one end sees it: a half that is sent and a half that is received. Messages wait on the sending half for
 * credit, and on the receiving half for pull(), whereby they are paid for.
 */
export class Stream implements ReceiveQueueOwner {
  /** Set before anything can be told. */
  events: StreamEvents;
  id = 0;
  /** The call that it was begun for, at the calling end: to be made again elsewhere where it was not taken. */
  call: OutgoingCall | undefined;
  session: StreamSession | undefined;
  /** Where what it has in memory is counted, at an answering end that counts it. */
  usage: StreamUsage | undefined;
  /** How many bytes may still be sent, and may still be received. */
  sendCredit = 0;
  receiveCredit = 0;
  receiveWindow = 0;
  /** What was taken and not yet given back. */
  pendingCredit = 0;
  /** Whether the stream is in the session's round. */
  isQueued = false;
  /** Whether the other end has shown that it has begun: what was sent up to then is kept, to be sent again elsewhere. */
  isAccepted: boolean;
  /** Whether the sending half has ended, and all of it is written. */
  isSendClosed = false;
  isReceiveClosed = false;
  /** Whether anything of the answer has come: its headers come before all else, and once. */
  hasResponse = false;
  isClosed = false;
  /** The one behind it in the same bucket of the session's streams. */
  nextInBucket: Stream | undefined;

  readonly #outbox = new SendQueue();
  readonly #inbox: ReceiveQueue;
  /** How many of the bytes that wait to be written the carrier knows of. */
  #leaving = 0;
  #endWanted = false;
  /** How the answering half ends, where the END of its last message does not say it. */
  #endStatus: CallStatus | undefined;
  #drained: (() => void) | undefined;
  #onEnded: (() => void) | undefined;

  constructor(events: StreamEvents, check: CheckMessage, isTaken: boolean) {
    this.events = events;
    this.#inbox = new ReceiveQueue(this, check);
    this.isAccepted = isTaken;
  }

  // What the app does.

  /**
   * Sends a message; `end`: the last one. What is sent when the stream is over is dropped. `tail` is how the message goes
   * on: of a stream that is taken only, and as it is until drained().
   */
  send(bytes: Uint8Array, end = false, tail?: Uint8Array): void {
    if (this.isClosed || this.#endWanted) return;
    if (end) this.#endWanted = true;
    if (!tail && !this.hasPending && this.session?.tryWrite(this, bytes, end)) {
      if (!this.isAccepted) this.#outbox.keep(bytes);
      if (end) this.#sent();
      return;
    }
    this.#outbox.add(bytes, tail);
    this.#tellLeaving();
    this.session?.enqueue(this);
  }

  /** Ends the sending half, after what was sent: that of an answer with its status. */
  end(status?: CallStatus): void {
    if (this.isClosed || this.#endWanted) return;
    this.#endWanted = true;
    this.#endStatus = status;
    this.#tellEnded();
    if (!this.hasPending && this.session) this.#writeEnd();
  }

  /** Whether a writer had better wait for drained() before it sends more. */
  get isFull(): boolean {
    return this.#outbox.isFull;
  }

  /** Resolves when there is room for more, or nothing more can be sent. For one writer. */
  whenDrained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isSendEnded || !this.isFull) resolve();
      else this.#drained = resolve;
    });
  }

  /** Whether nothing more can be sent: it has ended, though not all of it may have left, or is over. */
  get isSendEnded(): boolean {
    return this.isClosed || this.#endWanted;
  }

  /** Has `task` run when nothing more can be sent; of several the last one. At once, if that is so already. */
  onSendEnd(task: () => void): void {
    if (this.isSendEnded) task();
    else this.#onEnded = task;
  }

  /** Asks for the next message. */
  pull(): void {
    this.#inbox.pull();
  }

  /** Wants nothing more of the other half: what comes of it is thrown away. */
  discardIncoming(): void {
    this.#inbox.discard();
  }

  /** Ends both halves without a word to the app. What waits to be written is dropped. */
  destroy(): void {
    this.discardIncoming();
    this.close();
    this.session = undefined;
  }

  // What the session does.

  /** Sends nothing any more. What has been received is still there to be read. */
  close(): void {
    this.isClosed = true;
    this.#outbox.clear();
    this.#tellLeaving();
    this.#tellEnded();
  }

  /** Whether something waits to be written. */
  get hasPending(): boolean {
    return this.#outbox.hasPending;
  }

  /** How many bytes of the next message have still to be written. */
  get nextSize(): number {
    return this.#outbox.nextSize;
  }

  /** Goes back to the start, to begin on another session where nothing is known of it. */
  detach(): void {
    this.session = undefined;
    this.id = 0;
    this.#outbox.rewind();
    this.isSendClosed = false;
    this.pendingCredit = 0;
    this.isQueued = false;
  }

  /** Writes what waits: all that fits, or a place in the round. */
  flush(): void {
    if (this.hasPending) this.session?.enqueue(this);
    else if (this.#endWanted && !this.isSendClosed) this.#writeEnd();
  }

  /** Writes the next piece of what waits, of at most `most` bytes; how many they were. */
  writePiece(to: ByteWriter, most: number): number {
    const size = this.#outbox.writePiece(to, this.id, most, this.#endWanted && !this.#endStatus);
    this.#tellLeaving();
    if (this.isAccepted) this.#outbox.forgetWritten();
    if (this.#endWanted && !this.hasPending) {
      if (this.#endStatus) this.#writeEnd();
      else this.#sent();
    }
    if (this.#drained && !this.isFull) {
      this.#drained();
      this.#drained = undefined;
    }
    return size;
  }

  /** The other end has begun with it: it will not be sent again. */
  markAccepted(): void {
    if (this.isAccepted) return;
    this.isAccepted = true;
    this.#outbox.forgetWritten();
  }

  /** A message came, or a piece of one. */
  receiveMessage(bytes: Uint8Array, more: boolean, end: boolean): void {
    this.hasResponse = true;
    if (end) this.#inbox.end(OK_STATUS);
    const isToDeliver = this.#inbox.add(bytes, more);
    if (end) this.#receiveEnds();
    if (isToDeliver || end) this.#inbox.deliver();
  }

  /** The receiving half has ended. */
  receiveEnd(status: CallStatus): void {
    this.#inbox.end(status);
    this.#receiveEnds();
    this.#inbox.deliver();
  }

  // What the inbox tells.

  deliverMessage(bytes: Uint8Array): void {
    this.events.onMessage(bytes);
  }

  deliverEnd(status: CallStatus): void {
    this.events.onEnd(status);
  }

  deliverError(error: ConnectError): void {
    this.events.onRefused(error);
  }

  consume(bytes: number): void {
    this.session?.release(this, bytes + FRAME_COST);
  }

  countPartial(change: number): ConnectError | undefined {
    return this.session?.addArriving(this, change);
  }

  #tellLeaving(): void {
    const { pendingBytes } = this.#outbox;
    this.session?.addLeaving(this, pendingBytes - this.#leaving);
    this.#leaving = pendingBytes;
  }

  #tellEnded(): void {
    this.#drained?.();
    this.#drained = undefined;
    this.#onEnded?.();
    this.#onEnded = undefined;
  }

  #receiveEnds(): void {
    this.isReceiveClosed = true;
    this.session?.onHalfClosed(this);
  }

  #sent(): void {
    this.isSendClosed = true;
    this.session?.onHalfClosed(this);
  }

  #writeEnd(): void {
    this.session?.writeEnd(this, this.#endStatus);
    this.#sent();
  }
}
