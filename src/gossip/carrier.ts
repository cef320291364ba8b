import type { Message } from "../../gen/atomix/map/map_pb.js";
import { runAfter } from "../lib/timer.js";
import type { Link } from "./link.js";

/**
 * The sending half of one stream, which carries the links of any number of maps. A message is made when the stream
 * has room for it, never before, so nothing piles up here.
 */
export class Carrier {
  readonly #links: Link[] = [];
  #turn = 0;
  #finishing = false;
  #left: { error?: unknown; failed: boolean } | undefined;
  #wake: (() => void) | undefined;
  readonly #onEnd: () => void;

  /** `onEnd` is called once it has ended, also where no one reads on to see that. */
  constructor(onEnd: () => void = () => {}) {
    this.#onEnd = onEnd;
  }

  /** To be called when a link has more to send; for LinkOptions. */
  readonly wake = (): void => this.#wake?.();

  /** Whether messages() has nothing to send any more. */
  get ended(): boolean {
    return this.#left !== undefined;
  }

  add(link: Link): void {
    this.#links.push(link);
    this.wake();
  }

  /** Ends messages() once everything that waits has been sent. */
  finish(): void {
    this.#finishing = true;
    this.wake();
  }

  /** Ends messages() now. */
  leave(): void {
    this.#end({ failed: false });
  }

  /** Ends messages() now, with `error`. */
  fail(error: unknown): void {
    this.#end({ failed: true, error });
  }

  async *messages(): AsyncGenerator<Message, void, undefined> {
    try {
      while (!this.#left) {
        const message = this.#next();
        if (message) yield message;
        else if (this.#finishing) return;
        else await this.#work();
      }
      if (this.#left.failed) throw this.#left.error;
    } finally {
      this.leave();
    }
  }

  #end(how: { error?: unknown; failed: boolean }): void {
    if (this.#left) return;
    this.#left = how;
    this.#onEnd();
    this.wake();
  }

  /** The links take turns, so that a busy map does not hold up the others. */
  #next(): Message | undefined {
    const nowMs = this.#finishing ? Number.POSITIVE_INFINITY : Date.now();
    for (let tried = 0; tried < this.#links.length; tried++) {
      this.#turn = (this.#turn + 1) % this.#links.length;
      const message = this.#links[this.#turn]?.next(nowMs);
      if (message) return message;
    }
    return undefined;
  }

  /** Resolves when there may be something to send. */
  async #work(): Promise<void> {
    const dueMs = Math.min(...this.#links.map((link) => link.dueMs));
    let stop: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (dueMs < Number.POSITIVE_INFINITY) stop = runAfter(dueMs - Date.now(), resolve);
    });
    stop?.();
  }
}
