import type { Stream } from "../flow/stream.js";
import type { StreamTable } from "../flow/stream-table.js";
import type { OutgoingCall } from "./call.js";

/** The calls of one end that are under way, to be made again elsewhere where they were not taken, and those that wait. */
export class OutgoingCalls {
  readonly #streams: StreamTable;
  /** Calls that wait for one of those under way to end. */
  #waiting: OutgoingCall[] = [];
  /** The number of the first call that may not have left yet. */
  #firstUnsent = 0;

  constructor(streams: StreamTable) {
    this.#streams = streams;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** The first of those that wait. */
  get next(): OutgoingCall | undefined {
    return this.#waiting[0];
  }

  wait(call: OutgoingCall): void {
    this.#waiting.push(call);
  }

  /** The first of those that wait does so no more. */
  shift(): void {
    this.#waiting.shift();
  }

  /** One that waits is given up. */
  stopWaiting(stream: Stream): void {
    this.#waiting = this.#waiting.filter((call) => call.stream !== stream);
  }

  /** All that have begun up to now have left. */
  markAllSent(): void {
    this.#firstUnsent = this.#streams.nextId;
  }

  /** Of those under way the ones that the other end did not take: above `lastId`, and not shown to have begun. */
  unacceptedAbove(lastId: number): OutgoingCall[] {
    return this.#underWay(({ id, isAccepted: isTaken }) => id > lastId && !isTaken);
  }

  /** Those that never left, which may be under way. */
  takeUnsent(): OutgoingCall[] {
    return [...this.#underWay(({ id }) => id >= this.#firstUnsent), ...this.takeWaiting()];
  }

  takeWaiting(): OutgoingCall[] {
    return this.#waiting.splice(0);
  }

  #underWay(which: (stream: Stream) => boolean): OutgoingCall[] {
    return this.#streams.all().flatMap((stream) => (stream.call && which(stream) ? stream.call : []));
  }
}
