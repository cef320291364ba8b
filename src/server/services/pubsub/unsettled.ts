import type { DeliveryVerdict, EventClaim } from "./delivery.js";

/**
 * The events that were sent to one consumer and are not settled yet. There are at most `most`, and never two with the
 * same id, as an answer identifies its event by the id only.
 */
export class Unsettled {
  readonly #most: number;
  readonly #signal: AbortSignal;
  readonly #fail: (error: unknown) => void;
  readonly #unanswered = new Map<string, EventClaim>();
  #settling = 0;
  #waiting: (() => void)[] = [];

  /** When `signal` aborts, all waits end. Calls `fail` with the error if an event cannot be settled. */
  constructor(most: number, signal: AbortSignal, fail: (error: unknown) => void) {
    this.#most = most;
    this.#signal = signal;
    this.#fail = fail;
    signal.addEventListener("abort", () => this.#changed(), { once: true });
  }

  /** Adds an event that is about to be sent. Waits while there is another one with its id. */
  async add(claim: EventClaim): Promise<void> {
    await this.#until(() => !this.#unanswered.has(claim.event.id));
    this.#unanswered.set(claim.event.id, claim);
  }

  /** Begins to settle the event with this id. Ignores an unknown id, and one that was settled already. */
  settle(id: string, verdict: DeliveryVerdict, reason: string): void {
    const claim = this.#unanswered.get(id);
    if (!claim) return;
    this.#unanswered.delete(id);
    this.#settling++;
    const onSettled = () => {
      this.#settling--;
      this.#changed();
    };
    claim.settle(verdict, reason).catch(this.#fail).finally(onSettled);
    this.#changed();
  }

  /** Resolves when one more event may be sent. */
  hasRoom(): Promise<void> {
    return this.#until(() => this.#unanswered.size + this.#settling < this.#most);
  }

  /** Resolves when no event is being settled. */
  allSettled(): Promise<void> {
    return this.#until(() => this.#settling === 0);
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds() && !this.#signal.aborted) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
