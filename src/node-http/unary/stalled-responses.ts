import { runAfter } from "../../lib/timer.js";
import { Stall } from "../stall.js";
import type { Exchange } from "./exchange.js";

/** How often within the longest standstill progress is checked. */
const CHECKS = 8;

/** A response that is being sent. */
interface Sending {
  readonly method: string;
  /** Created with the first check: most responses are sent before. */
  stall: Stall | undefined;
  progress: number;
}

/** Gives up responses of which the client has taken nothing for too long. One timer for all of them. */
export class StalledResponses {
  readonly #stalledMs: number;
  readonly #onStalled: ((method: string, address: string) => void) | undefined;
  readonly #sending = new Map<Exchange, Sending>();
  #isPlanned = false;

  constructor(stalledMs: number, onStalled: ((method: string, address: string) => void) | undefined) {
    this.#stalledMs = stalledMs;
    this.#onStalled = onStalled;
  }

  add(exchange: Exchange, method: string): void {
    this.#sending.set(exchange, { method, stall: undefined, progress: 0 });
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    runAfter(this.#stalledMs / CHECKS, this.#check);
  }

  remove(exchange: Exchange): void {
    this.#sending.delete(exchange);
  }

  readonly #check = (): void => {
    for (const [exchange, sending] of this.#sending) {
      const { socket, stream } = exchange;
      sending.stall ??= new Stall({ socket, stream, httpVersionMajor: stream ? 2 : 1 } as never);
      if (exchange.isQueued || exchange.progress !== sending.progress) sending.stall.reset();
      sending.progress = exchange.progress;
      if (sending.stall.check() < CHECKS) continue;
      this.#sending.delete(exchange);
      this.#onStalled?.(sending.method.slice(1), exchange.socket.remoteAddress ?? "");
      exchange.reset();
    }
    this.#isPlanned = this.#sending.size > 0;
    if (this.#isPlanned) runAfter(this.#stalledMs / CHECKS, this.#check);
  };
}
