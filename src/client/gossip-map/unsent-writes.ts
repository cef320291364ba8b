import type { Environment } from "../../gossip/environment.js";

/** How long the server may take to confirm a write: at least this, at most twice as long. */
const SLOW_MS = 5000;

/** The keys whose entries the server has not confirmed: the last write of each was made by this device. */
export class UnsentWrites {
  readonly #environment: Environment;
  readonly #onSlow: () => void;
  /** The keys that were written since the last turn of the timer, and before it. Two sets cost less than times. */
  #recent = new Set<string>();
  #old = new Set<string>();
  #isSlow = false;
  #stopTimer: (() => void) | undefined;

  /** `onSlow` is called when `isSlow` has become true. */
  constructor(environment: Environment, onSlow: () => void) {
    this.#environment = environment;
    this.#onSlow = onSlow;
  }

  get size(): number {
    return this.#recent.size + this.#old.size;
  }

  /** Whether the server takes too long to confirm one of them. */
  get isSlow(): boolean {
    return this.#isSlow && this.#old.size > 0;
  }

  has(key: string): boolean {
    return this.#recent.has(key) || this.#old.has(key);
  }

  add(key: string): void {
    this.#old.delete(key);
    this.#recent.add(key);
    this.#stopTimer ??= this.#environment.after(SLOW_MS, () => this.#turn());
  }

  /** Whether the key was among them. */
  delete(key: string): boolean {
    return this.#recent.delete(key) || this.#old.delete(key);
  }

  /** Measures the time from now on: there was no connection before. */
  restart(): void {
    if (this.#old.size === 0) return;
    for (const key of this.#old) this.#recent.add(key);
    this.#old.clear();
    this.#isSlow = false;
  }

  stop(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
  }

  *[Symbol.iterator](): Generator<string, void, undefined> {
    yield* this.#old;
    yield* this.#recent;
  }

  #turn(): void {
    this.#stopTimer = this.size > 0 ? this.#environment.after(SLOW_MS, () => this.#turn()) : undefined;
    this.#isSlow = this.#old.size > 0;
    for (const key of this.#recent) this.#old.add(key);
    this.#recent.clear();
    if (this.#isSlow) this.#onSlow();
  }
}
