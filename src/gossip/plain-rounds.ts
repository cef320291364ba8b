import type { Outbox, OutboxStep } from "./outbox.js";
import type { LinkedReplica } from "./restricted-replica.js";
import { OutgoingRound } from "./round.js";

/** How many rounds may be unanswered on each side: some peers answer none, or ask for more than they read. */
const MOST_ROUNDS = 3;

/** The rounds over all keys with a peer that does not know the reserved key. Each side answers a round with its own. */
export class PlainRounds {
  readonly #replica: LinkedReplica;
  readonly #outbox: Outbox;
  readonly #chunkKeys: number;
  #own: OutboxStep | undefined;
  /** How many rounds of the peer this side has not answered, and how many of its own the peer has not. */
  #owed = 0;
  #awaited = 0;
  #sentMs = Number.NEGATIVE_INFINITY;

  constructor(replica: LinkedReplica, outbox: Outbox, chunkKeys: number) {
    this.#replica = replica;
    this.#outbox = outbox;
    this.#chunkKeys = chunkKeys;
  }

  /** Whether the peer is to answer a round of this side with its own. */
  get isAwaited(): boolean {
    return this.#awaited > 0;
  }

  /** When the last round was sent, by the monotonic clock. */
  get sentMs(): number {
    return this.#sentMs;
  }

  /** Awaits no answers any more, since the peer has other rounds. */
  clear(): void {
    this.#awaited = 0;
  }

  /** Advertises all keys, so that the peer sends and requests what differs, and answers with its own. */
  start(): void {
    if (this.#own) return;
    const step = this.#step(false, () => {
      this.#own = undefined;
      this.await();
    });
    this.#own = step;
    this.#outbox.enqueue(step);
  }

  /** The peer is to answer an advertisement of this side with a round. */
  await(): void {
    if (this.#awaited < MOST_ROUNDS) this.#awaited++;
  }

  /** To be called when the peer has completed a round: the answer to this side's, or one that this side answers. */
  received(): void {
    // Each round has its own answer. With fewer, an answer would be taken for a new round, and be answered for ever.
    if (this.isAwaited) this.#awaited--;
    else if (this.#owed < MOST_ROUNDS) {
      this.#owed++;
      this.#outbox.enqueue(this.#step(true, () => this.#owed--));
    }
  }

  #step(isAnswer: boolean, onSent: () => void): OutboxStep {
    const round = new OutgoingRound(this.#replica, { chunkKeys: this.#chunkKeys, isAnswer });
    return {
      awaitsRequested: isAnswer,
      next: () => {
        const { digests, isLast } = round.next();
        if (isLast) {
          this.#sentMs = this.#replica.environment.monotonicMs();
          onSent();
        }
        return { digests, isLast };
      },
    };
  }
}
