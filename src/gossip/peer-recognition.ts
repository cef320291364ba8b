import type { Environment } from "./environment.js";

/** How long an unknown peer may take to show that it knows the reserved key. */
const RECOGNITION_MS = 2000;

/** How long it may take, after the last entries that it sent, to answer a round. */
const ROUND_MS = 10_000;

/**
 * Finds out whether a peer knows the reserved key. A peer shows that it does by using it. One that advertises without
 * it, requests it as the key of an entry, or does not answer the first message in time, counts as plain.
 */
export class PeerRecognition {
  readonly #environment: Environment;
  #kind: "unknown" | "plain" | "capable" = "unknown";
  #greeting: "none" | "pending" | "root" | "round" = "none";
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get kind(): "unknown" | "plain" | "capable" {
    return this.#kind;
  }

  /** When an unknown peer counts as plain, by the monotonic clock. */
  get dueMs(): number {
    return this.#dueMs;
  }

  get isOverdue(): boolean {
    return this.#environment.monotonicMs() >= this.#dueMs;
  }

  /** The first message to the peer, if there is one: a whole round, or only the root. It is pending until it is sent. */
  get greeting(): "none" | "pending" | "root" | "round" {
    return this.#greeting;
  }

  /** To be called when the first message is to be sent. Returns false if it has been already. */
  greet(): boolean {
    if (this.#greeting !== "none") return false;
    this.#greeting = "pending";
    return true;
  }

  /** To be called when the first message is sent. */
  greeted(greeting: "root" | "round"): void {
    this.#greeting = greeting;
    if (this.#kind === "unknown") this.#await(greeting === "round" ? ROUND_MS : RECOGNITION_MS);
  }

  /** To be called when entries arrive: before the answer to a round, the peer sends what is missing here. */
  receivedEntries(): void {
    if (this.#kind === "unknown" && this.#greeting === "round") this.#await(ROUND_MS);
  }

  is(kind: "plain" | "capable"): void {
    this.#kind = kind;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  /** The next message is the first one again. */
  restart(): void {
    this.#greeting = "none";
  }

  #await(ms: number): void {
    this.#dueMs = this.#environment.monotonicMs() + ms;
  }
}
