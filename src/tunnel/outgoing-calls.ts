import type { OutgoingCall } from "./call.js";
import type { Stream } from "./stream.js";

/** The calls of one end that are under way, to be made again elsewhere where they were not taken, and those that wait. */
export class OutgoingCalls {
  readonly #open = new Map<number, OutgoingCall>();
  /** Calls that wait for one of those under way to end. */
  #waiting: OutgoingCall[] = [];
  /** The first of them that has not left yet. */
  #firstUnsent = 0;

  get openCount(): number {
    return this.#open.size;
  }

  get isAnyWaiting(): boolean {
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

  begun(id: number, call: OutgoingCall): void {
    this.#open.set(id, call);
  }

  over(id: number): void {
    this.#open.delete(id);
  }

  /** All below `nextId` have left. */
  sent(nextId: number): void {
    this.#firstUnsent = nextId;
  }

  /** Of those under way the ones that the other end did not take: above `lastId`, and not shown to have begun. */
  untakenAbove(lastId: number): OutgoingCall[] {
    return [...this.#open]
      .filter(([id, { stream }]) => id > lastId && !stream.isTaken)
      .map(([, call]) => call);
  }

  /** Takes out all that never left, which may be under way. */
  takeUnsent(): OutgoingCall[] {
    const unsent = [...this.#open].filter(([id]) => id >= this.#firstUnsent).map(([, call]) => call);
    this.#open.clear();
    return [...unsent, ...this.takeWaiting()];
  }

  takeWaiting(): OutgoingCall[] {
    return this.#waiting.splice(0);
  }
}
