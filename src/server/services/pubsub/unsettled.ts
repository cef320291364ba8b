import type { Claim, Verdict } from "./delivery.js";

/**
 * The events that one consumer has been sent and that are not settled yet: at most `most` of them, and no two with the
 * same id at a time, since an answer names its event by nothing else.
 */
export class Unsettled {
  readonly #most: number;
  readonly #signal: AbortSignal;
  readonly #fail: (error: unknown) => void;
  readonly #unanswered = new Map<string, Claim>();
  #settling = 0;
  #waiting: (() => void)[] = [];

  /** Once `signal` aborts, nothing waits any more. `fail` is told what made it impossible to settle an event. */
  constructor(most: number, signal: AbortSignal, fail: (error: unknown) => void) {
    this.#most = most;
    this.#signal = signal;
    this.#fail = fail;
    signal.addEventListener("abort", () => this.#changed(), { once: true });
  }

  /** Takes in an event that is about to be sent, as soon as no other with its id is there. */
  async add(claim: Claim): Promise<void> {
    await this.#until(() => !this.#unanswered.has(claim.event.id));
    this.#unanswered.set(claim.event.id, claim);
  }

  /** Begins to settle the event with this id; one that is not there, or was answered already, is let be. */
  answer(id: string, verdict: Verdict, reason: string): void {
    const claim = this.#unanswered.get(id);
    if (!claim) return;
    this.#unanswered.delete(id);
    this.#settling++;
    const settled = () => {
      this.#settling--;
      this.#changed();
    };
    claim.settle(verdict, reason).catch(this.#fail).finally(settled);
    this.#changed();
  }

  /** Resolves as soon as one more event may be sent. */
  room(): Promise<void> {
    return this.#until(() => this.#unanswered.size + this.#settling < this.#most);
  }

  /** Resolves once what was answered is settled. */
  answersSettled(): Promise<void> {
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
