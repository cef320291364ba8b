import type { ConnectError } from "@connectrpc/connect";
import type { OutgoingCall } from "../call/call.js";
import type { ByteWriter } from "../wire/bytes.js";
import { type CallStatus, type HeaderList, OK_STATUS } from "../wire/frame.js";
import type { CheckMessage } from "../wire/limits.js";
import { FRAME_COST } from "./frame-cost.js";
import { ReceiveQueue, type ReceiveQueueOwner } from "./receive-queue.js";
import { SendQueue } from "./send-queue.js";

/** Events of a stream, for its caller or handler. */
export interface StreamEvents {
  /** A message that pull() asked for. */
  onMessage(bytes: Uint8Array): void;
  /** The other half has ended, after all of its messages. For a handler the status is always OK. */
  onEnd(status: CallStatus): void;
  /** The headers of the response, before its first message. */
  onHeaders?(header: HeaderList): void;
  /** The stream was reset by the other end, or its socket was lost. Nothing follows. */
  onError(error: ConnectError): void;
  /** A message is larger than this end accepts. Nothing follows, and the stream still has to be ended. */
  onRefused(error: ConnectError): void;
}

/** Counts the bytes that a call has in memory. */
export interface StreamUsage {
  /** The method, as "/package.Service/Method". */
  readonly path: string;
  /** The received bytes of incomplete messages change by `change`. Returns the error if they are too many. */
  addArriving(change: number): ConnectError | undefined;
  /** The bytes that wait to be sent change by `change`. */
  addLeaving(change: number): void;
}

/** The part of a session that a stream uses. */
export interface StreamSession {
  /** Writes a message at once if credit and the socket allow it. Returns whether it did. */
  tryWrite(stream: Stream, bytes: Uint8Array, end: boolean): boolean;
  /** Writes the pending messages of the stream in turn with those of the others. */
  enqueue(stream: Stream): void;
  /** Ends the sending half: with its status if it is the answering one. */
  writeEnd(stream: Stream, status: CallStatus | undefined): void;
  /** Releases the credit of a message that was consumed. */
  release(stream: Stream, cost: number): void;
  /** One of the halves has ended. */
  onHalfClosed(stream: Stream): void;
  /** As StreamUsage has it, for the stream. */
  addArriving(stream: Stream, change: number): ConnectError | undefined;
  addLeaving(stream: Stream, change: number): void;
}

/**
 * One call as one end sees it: a sending and a receiving half. Messages wait on the sending half for credit, and on the
 * receiving half for pull(), which releases their credit.
 */
export class Stream implements ReceiveQueueOwner {
  /** Must be set before the first frame is received. */
  events: StreamEvents;
  id = 0;
  /** The call of a local stream: it is made again on another session if this one did not accept it. */
  call: OutgoingCall | undefined;
  session: StreamSession | undefined;
  /** Counts the memory of a remote stream, if the server limits it. */
  usage: StreamUsage | undefined;
  /** The bytes that may still be sent. */
  sendCredit = 0;
  /** The bytes that may still be received. */
  receiveCredit = 0;
  receiveWindow = 0;
  /** Consumed bytes whose credit has not been returned yet. */
  pendingCredit = 0;
  /** Whether the stream is in the sender's queue. */
  isQueued = false;
  /** Whether the other end has begun with the call: until then sent messages are kept to be sent again. */
  isAccepted: boolean;
  /** Whether the sending half has ended, and all of it is written. */
  isSendClosed = false;
  isReceiveClosed = false;
  /** Whether any part of the response has been received. Its headers come first, and once. */
  hasResponse = false;
  isClosed = false;
  /** The next stream of the same bucket of StreamMap. */
  nextInBucket: Stream | undefined;

  readonly #sendQueue = new SendQueue();
  readonly #receiveQueue: ReceiveQueue;
  /** The pending bytes that the session has counted. */
  #countedLeaving = 0;
  #isEndRequested = false;
  /** The status of the answering half, unless the END flag of its last message says it. */
  #endStatus: CallStatus | undefined;
  #onDrained: (() => void) | undefined;
  #onSendEnd: (() => void) | undefined;

  constructor(events: StreamEvents, check: CheckMessage, isAccepted: boolean) {
    this.events = events;
    this.#receiveQueue = new ReceiveQueue(this, check);
    this.isAccepted = isAccepted;
  }

  // For the caller or handler.

  /**
   * Sends a message, with `end` the last one. A message after the end is dropped. `tail` continues the message without
   * a copy: only if the stream is accepted, and it must not change before whenDrained() resolves.
   */
  send(bytes: Uint8Array, end = false, tail?: Uint8Array): void {
    if (!this.canSend) return;
    if (end) this.#isEndRequested = true;
    if (!tail && !this.hasPending && this.session?.tryWrite(this, bytes, end)) {
      if (!this.isAccepted) this.#sendQueue.keep(bytes);
      if (end) this.#closeSend();
      return;
    }
    this.#sendQueue.add(bytes, tail);
    this.#countLeaving();
    this.session?.enqueue(this);
  }

  /** Ends the sending half after the messages so far: the answering half with its status. */
  end(status?: CallStatus): void {
    if (!this.canSend) return;
    this.#isEndRequested = true;
    this.#endStatus = status;
    this.#notifySendEnd();
    if (!this.hasPending && this.session) this.#writeEnd();
  }

  /** Whether the sending half is open: end() was not called, and the stream is not closed. */
  get canSend(): boolean {
    return !this.isClosed && !this.#isEndRequested;
  }

  /** Whether a writer should wait for whenDrained() before it sends more. */
  get isFull(): boolean {
    return this.#sendQueue.isFull;
  }

  /** Resolves when there is room for more, or the sending half is not open any more. For one writer. */
  whenDrained(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.canSend || !this.isFull) resolve();
      else this.#onDrained = resolve;
    });
  }

  /** Runs `task` when the sending half ends, at once if it has. Only the last task is kept. */
  onSendEnd(task: () => void): void {
    if (this.canSend) this.#onSendEnd = task;
    else task();
  }

  /** Asks for the next message. */
  pull(): void {
    this.#receiveQueue.pull();
  }

  /** Discards the rest of the receiving half. */
  discardIncoming(): void {
    this.#receiveQueue.discard();
  }

  /** Closes both halves without events. Pending messages are dropped. */
  destroy(): void {
    this.discardIncoming();
    this.close();
    this.session = undefined;
  }

  // For the session.

  /** Closes the stream. Messages that have been received can still be pulled. */
  close(): void {
    this.isClosed = true;
    this.#sendQueue.clear();
    this.#countLeaving();
    this.#notifySendEnd();
  }

  /** Whether messages wait to be written. */
  get hasPending(): boolean {
    return this.#sendQueue.hasPending;
  }

  /** The bytes of the next message that are not written yet. */
  get nextSize(): number {
    return this.#sendQueue.nextSize;
  }

  /** Goes back to the start, to begin again on another session. */
  detach(): void {
    this.session = undefined;
    this.id = 0;
    this.#sendQueue.rewind();
    this.isSendClosed = false;
    this.pendingCredit = 0;
    this.isQueued = false;
  }

  /** Writes what is pending, or queues the stream for its turn. */
  flush(): void {
    if (this.hasPending) this.session?.enqueue(this);
    else if (this.#isEndRequested && !this.isSendClosed) this.#writeEnd();
  }

  /** Writes the next piece of at most `maxBytes` of what is pending. Returns its size. */
  writePiece(to: ByteWriter, maxBytes: number): number {
    const endsHere = this.#isEndRequested && !this.#endStatus;
    const size = this.#sendQueue.writePiece(to, this.id, maxBytes, endsHere);
    this.#countLeaving();
    if (this.isAccepted) this.#sendQueue.dropWritten();
    if (this.#isEndRequested && !this.hasPending) {
      if (this.#endStatus) this.#writeEnd();
      else this.#closeSend();
    }
    if (this.#onDrained && !this.isFull) {
      this.#onDrained();
      this.#onDrained = undefined;
    }
    return size;
  }

  /** Notes that the other end has begun with the call: it will not be sent again. */
  markAccepted(): void {
    if (this.isAccepted) return;
    this.isAccepted = true;
    this.#sendQueue.dropWritten();
  }

  /** Receives a message, or a piece of one if `more` follow. */
  receiveMessage(bytes: Uint8Array, more: boolean, end: boolean): void {
    this.hasResponse = true;
    if (end) this.#receiveQueue.end(OK_STATUS);
    const hasToDeliver = this.#receiveQueue.add(bytes, more);
    if (end) this.#closeReceive();
    if (hasToDeliver || end) this.#receiveQueue.deliver();
  }

  /** Receives the end of the receiving half. */
  receiveEnd(status: CallStatus): void {
    this.#receiveQueue.end(status);
    this.#closeReceive();
    this.#receiveQueue.deliver();
  }

  // For the receive queue.

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

  #countLeaving(): void {
    const { pendingBytes } = this.#sendQueue;
    this.session?.addLeaving(this, pendingBytes - this.#countedLeaving);
    this.#countedLeaving = pendingBytes;
  }

  #notifySendEnd(): void {
    this.#onDrained?.();
    this.#onDrained = undefined;
    this.#onSendEnd?.();
    this.#onSendEnd = undefined;
  }

  #closeReceive(): void {
    this.isReceiveClosed = true;
    this.session?.onHalfClosed(this);
  }

  #closeSend(): void {
    this.isSendClosed = true;
    this.session?.onHalfClosed(this);
  }

  #writeEnd(): void {
    this.session?.writeEnd(this, this.#endStatus);
    this.#closeSend();
  }
}
