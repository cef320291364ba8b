import { runAfter } from "../../lib/timer.js";
import { Stall } from "../stall.js";
import type { Exchange } from "./exchange.js";

/** How often within the longest standstill progress is checked. */
const CHECKS = 8;

/** A response that is being sent. */
export interface Sending {
  readonly exchange: Exchange;
  readonly method: string;
  /** Its index in the list. */
  index: number;
  /** Created with the first check: most responses are sent before. */
  stall: Stall | undefined;
  progress: number;
}

/** Gives up responses of which the client has taken nothing for too long. One timer for all of them. */
export class StalledResponses {
  readonly #stalledMs: number;
  readonly #onStalled: ((method: string, address: string) => void) | undefined;
  // Not a Map, whose old tables would keep responses in memory that have been sent.
  readonly #sending: Sending[] = [];
  #isPlanned = false;

  constructor(stalledMs: number, onStalled: ((method: string, address: string) => void) | undefined) {
    this.#stalledMs = stalledMs;
    this.#onStalled = onStalled;
  }

  /** Watches a response until remove() is called with the result. */
  add(exchange: Exchange, method: string): Sending {
    const sending = { exchange, method, index: this.#sending.length, stall: undefined, progress: 0 };
    this.#sending.push(sending);
    if (!this.#isPlanned) {
      this.#isPlanned = true;
      runAfter(this.#stalledMs / CHECKS, this.#check);
    }
    return sending;
  }

  /** Idempotent. */
  remove(sending: Sending): void {
    if (this.#sending[sending.index] !== sending) return;
    const last = this.#sending.pop() as Sending;
    if (last === sending) return;
    this.#sending[sending.index] = last;
    last.index = sending.index;
  }

  readonly #check = (): void => {
    // A copy: those that are given up are removed.
    for (const sending of [...this.#sending]) {
      const { exchange, method } = sending;
      const { socket, stream } = exchange;
      sending.stall ??= new Stall({ socket, stream, httpVersionMajor: stream ? 2 : 1 } as never);
      if (exchange.isQueued || exchange.progress !== sending.progress) sending.stall.reset();
      sending.progress = exchange.progress;
      if (sending.stall.check() < CHECKS) continue;
      this.remove(sending);
      this.#onStalled?.(method.slice(1), exchange.socket.remoteAddress ?? "");
      exchange.reset();
    }
    this.#isPlanned = this.#sending.length > 0;
    if (this.#isPlanned) runAfter(this.#stalledMs / CHECKS, this.#check);
  };
}
