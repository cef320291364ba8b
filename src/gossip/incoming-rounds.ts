import type { Digest } from "../../gen/atomix/map/map_pb.js";
import { compareUtf8 } from "../lib/compare-utf8.js";
import type { DigestComparison, IncomingRound } from "./digest-comparison.js";
import type { RoundPart } from "./reserved-key.js";
import { type RoundScope, scopeOf } from "./round.js";

export interface IncomingRoundsOptions {
  comparison: DigestComparison;
  /** The number of keys in each part but the last one, by which plain rounds end. */
  chunkKeys: number;
  /** Called for the first part of a round that is not plain. */
  onStart: (part: RoundPart, scope: RoundScope) => void;
  onEnd: (round: IncomingRound) => void;
}

/** Puts the rounds of a peer together from their parts, and compares each part. */
export class IncomingRounds {
  readonly #options: IncomingRoundsOptions;
  #current: IncomingRound | undefined;

  constructor(options: IncomingRoundsOptions) {
    this.#options = options;
  }

  /** Drops a round that is not complete. */
  clear(): void {
    this.#current = undefined;
  }

  /** Compares a part of a round by a peer that does not know the reserved key. `keys` are in order. */
  receivePlain(keys: readonly string[], digests: Record<string, Digest>): void {
    const { comparison, chunkKeys } = this.#options;
    const [first] = keys;
    if (this.#current?.id) this.#current = undefined;
    const previous = this.#current;
    if (previous?.after !== undefined && first !== undefined && compareUtf8(first, previous.after) <= 0) {
      // The peer starts a new round: its previous part was full, but was the last one.
      comparison.compare(previous, [], {}, true);
      this.#end(previous);
    }
    const round = (this.#current ??= newRound(undefined));
    const isLast = keys.length !== chunkKeys;
    comparison.compare(round, keys, digests, isLast);
    if (isLast) this.#end(round);
  }

  /** Compares a part that has a record. `keys` are in order. */
  receive(part: RoundPart, keys: readonly string[], digests: Record<string, Digest>): void {
    const { comparison, onStart } = this.#options;
    if (part.isFirst) {
      this.#current = newRound(part);
      onStart(part, this.#current.scope);
    }
    const round = this.#current;
    if (!round?.id) return;
    comparison.compare(round, keys, digests, part.isLast);
    if (part.isLast) this.#end(round);
  }

  #end(round: IncomingRound): void {
    this.#current = undefined;
    this.#options.onEnd(round);
  }
}

const newRound = (part: RoundPart | undefined): IncomingRound => ({
  scope: scopeOf(part?.buckets),
  id: part && { exchange: part.exchange, isStarter: part.isStarter },
  isAnswer: part?.isAnswer ?? false,
  after: undefined,
  isWhole: true,
});
