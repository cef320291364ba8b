import type { Message } from "../../gen/atomix/map/map_pb.js";
import type { Environment } from "./environment.js";
import type { Link } from "./link.js";

/**
 * The outgoing messages of one stream, which the links of any number of maps share. A message is made only when the
 * stream can take it, so no messages are buffered here.
 */
export class Multiplexer {
  readonly #links: Link[] = [];
  #current = 0;
  #isFinishing = false;
  #end: { error?: unknown; isFailure: boolean } | undefined;
  #wake: (() => void) | undefined;
  readonly #environment: Environment;
  readonly #onEnd: () => void;

  /** `onEnd` is called when the messages end, even if nobody reads them any more. */
  constructor(environment: Environment, onEnd: () => void = () => {}) {
    this.#environment = environment;
    this.#onEnd = onEnd;
  }

  /** To be called when a link has more to send: see LinkOptions. */
  readonly wake = (): void => this.#wake?.();

  /** Whether messages() has ended. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  add(link: Link): void {
    this.#links.push(link);
    this.wake();
  }

  /** Ends messages() after everything that is pending. */
  finish(): void {
    this.#isFinishing = true;
    this.wake();
  }

  /** Ends messages() immediately. */
  stop(): void {
    this.#endWith({ isFailure: false });
  }

  /** Ends messages() immediately, with `error`. */
  fail(error: unknown): void {
    this.#endWith({ isFailure: true, error });
  }

  async *messages(): AsyncGenerator<Message, void, undefined> {
    try {
      while (!this.#end) {
        const message = this.#next();
        if (message) yield message;
        else if (this.#isFinishing) return;
        else await this.#untilDue();
      }
      if (this.#end.isFailure) throw this.#end.error;
    } finally {
      this.stop();
    }
  }

  #endWith(end: { error?: unknown; isFailure: boolean }): void {
    if (this.#end) return;
    this.#end = end;
    this.#onEnd();
    this.wake();
  }

  /** The next message of the links in turn, so that a busy map does not block the others. */
  #next(): Message | undefined {
    const nowMs = this.#isFinishing ? Number.POSITIVE_INFINITY : this.#environment.monotonicMs();
    for (let tried = 0; tried < this.#links.length; tried++) {
      this.#current = (this.#current + 1) % this.#links.length;
      const message = this.#links[this.#current]?.next(nowMs);
      if (message) return message;
    }
    return undefined;
  }

  /** Resolves when a link may have something to send. */
  async #untilDue(): Promise<void> {
    const dueMs = Math.min(...this.#links.map((link) => link.dueMs));
    let stopTimer: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (dueMs === Number.POSITIVE_INFINITY) return;
      stopTimer = this.#environment.after(dueMs - this.#environment.monotonicMs(), resolve);
    });
    stopTimer?.();
  }
}
