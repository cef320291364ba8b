import { ConnectError } from "@connectrpc/connect";
import type { Sender } from "../flow/sender.js";
import type { Stream } from "../flow/stream.js";
import type { StreamTable } from "../flow/stream-table.js";
import type { Peer } from "../session/peer.js";
import { checkHeaderSize } from "../wire/frame-limits.js";
import type { MethodNumbers } from "../wire/method-numbers.js";
import { writeCall } from "../wire/write-frame.js";
import type { OutgoingCall } from "./call.js";

export interface OutgoingCallsOptions {
  readonly streams: StreamTable;
  readonly methods: MethodNumbers;
  readonly sender: Sender;
  readonly peer: Peer;
  /** Attaches a new stream to the session. */
  readonly attach: (stream: Stream) => void;
}

/** The calls of this end: those that are open, and those that wait because the other end accepts no more at once. */
export class OutgoingCalls {
  readonly #options: OutgoingCallsOptions;
  #waiting: OutgoingCall[] = [];
  /** The id of the first call that may not have been sent yet. */
  #firstUnsentId = 0;

  constructor(options: OutgoingCallsOptions) {
    this.#options = options;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Begins a call, at once or when one of the open calls has ended. */
  begin(call: OutgoingCall): void {
    if (this.hasWaiting || !this.#canBegin(call)) this.#waiting.push(call);
    else this.#begin(call);
  }

  /** Begins the calls that wait, as far as the other end accepts them now. */
  beginWaiting(): void {
    for (let call = this.#waiting[0]; call && this.#canBegin(call); call = this.#waiting[0]) {
      this.#waiting.shift();
      this.#begin(call);
    }
  }

  /** Removes a call that waits. */
  stopWaiting(stream: Stream): void {
    this.#waiting = this.#waiting.filter((call) => call.stream !== stream);
  }

  /** Notes that all calls up to now have been sent. */
  markAllSent(): void {
    this.#firstUnsentId = this.#options.streams.nextId;
  }

  /** The open calls that the other end did not accept: those above `lastId` without a sign that they have begun. */
  unacceptedAbove(lastId: number): OutgoingCall[] {
    return this.#openCalls(({ id, isAccepted }) => id > lastId && !isAccepted);
  }

  /** Takes the calls of which nothing was sent, open or waiting. */
  takeUnsent(): OutgoingCall[] {
    return [...this.#openCalls(({ id }) => id >= this.#firstUnsentId), ...this.takeWaiting()];
  }

  takeWaiting(): OutgoingCall[] {
    return this.#waiting.splice(0);
  }

  #canBegin({ header }: OutgoingCall): boolean {
    const { streams, peer } = this.#options;
    if (streams.localCount >= peer.settings.calls || peer.hasSentGoaway) return false;
    // Before its SETTINGS the limits of the other end are not known, only a lower bound of them.
    return peer.hasSentSettings || !checkHeaderSize("headers", header, peer.settings.headerBytes);
  }

  #begin(call: OutgoingCall): void {
    const { streams, methods, sender, peer, attach } = this.#options;
    const { stream, path, timeoutMs, header } = call;
    const tooLarge = checkHeaderSize("headers", header, peer.settings.headerBytes);
    if (tooLarge) {
      stream.events.onError(new ConnectError(tooLarge.text, tooLarge.code));
      return;
    }
    streams.addLocal(stream);
    stream.call = call;
    attach(stream);
    writeCall(sender.batch, stream.id, methods.numberOf(path), timeoutMs, header);
    stream.flush();
  }

  #openCalls(matches: (stream: Stream) => boolean): OutgoingCall[] {
    return this.#options.streams
      .all()
      .flatMap((stream) => (stream.call && matches(stream) ? stream.call : []));
  }
}
