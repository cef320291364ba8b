import type { Confirmations } from "./confirmations.js";
import type { IncomingRound } from "./digest-comparison.js";
import type { Outbox, OutboxStep, StepContent } from "./outbox.js";
import {
  BUCKETS,
  type ExchangeId,
  GROUP_BUCKETS,
  type Hashes,
  type ReservedRecord,
  type RoundPart,
} from "./reserved-key.js";
import type { LinkedReplica } from "./restricted-replica.js";
import { ALL_KEYS, OutgoingRound, type RoundScope, scopeOf } from "./round.js";

/** A replica of at most so many keys sends their digests instead of 64 hashes, which are about as long. */
const FEW_KEYS = 16;

/** A replica of at most so many keys sends the digests of groups instead of their buckets' hashes. */
const FEW_KEYS_PER_BUCKET = 2048;

/** The exchange numbers are 7 bits. */
const EXCHANGES = 128;

/** An exchange, with the id as this side sends it. */
type Exchange = ExchangeId & {
  /** Whether this side has started it with a round. */
  startedByRound: boolean;
  /** Whether this side has started it instead of a round, as the answer to one. */
  isFollowUp: boolean;
  /** What the last hashes of this side were of: the buckets (undefined: all), and the replica's revision. */
  sent: { isIn: Uint8Array | undefined; revision: number } | undefined;
};

export interface HashExchangesOptions {
  replica: LinkedReplica;
  outbox: Outbox;
  confirmations: Confirmations;
  chunkKeys: number;
  /** Called when all keys have been compared; `isWhole`: and all newer entries of the peer could be requested. */
  onEnd: (isWhole: boolean) => void;
}

/**
 * Finds what differs from a peer that knows the reserved key. One side sends the root of its hashes. The other one
 * answers that its own is equal, or with the hashes of its groups; then come the hashes of the buckets in the groups
 * that differ, then a round over the buckets that differ, and its answer. Each step names what differs in the step
 * before; so what it does not name is equal, which confirms it. Small replicas skip steps. Each exchange ends, however
 * many entries change meanwhile.
 */
export class HashExchanges {
  readonly #options: HashExchangesOptions;
  /** The last exchange that this side has started, and the peer's, if they have not ended. */
  #own: Exchange | undefined;
  #theirs: Exchange | undefined;
  /** The last step of each, which may not have been sent. */
  readonly #pending: { own?: OutboxStep; theirs?: OutboxStep } = {};
  #started = 0;
  #startedMs = Number.NEGATIVE_INFINITY;
  /** When an exchange made progress last. */
  #activeMs = Number.NEGATIVE_INFINITY;

  constructor(options: HashExchangesOptions) {
    this.#options = options;
  }

  /** Whether an exchange has made progress within `timeoutMs`, and has not ended. */
  isOpen(timeoutMs: number): boolean {
    if (!this.#own && !this.#theirs) return false;
    return this.#options.replica.environment.monotonicMs() < this.#activeMs + timeoutMs;
  }

  /** When this side started an exchange last, by the monotonic clock. */
  get startedMs(): number {
    return this.#startedMs;
  }

  /** Starts an exchange with the root. An own one that has not ended is dropped. */
  start(): void {
    this.#open((exchange) => () => this.#rootOf(exchange));
  }

  /** Starts an exchange with an unknown peer. If there are few keys, their digests are understood by every peer. */
  greet(onSent: (greeting: "root" | "round") => void): void {
    this.#open((exchange) => {
      const { replica, chunkKeys } = this.#options;
      exchange.startedByRound = replica.size <= FEW_KEYS && replica.size < chunkKeys;
      onSent(exchange.startedByRound ? "round" : "root");
      return exchange.startedByRound ? this.#round(exchange, ALL_KEYS) : () => this.#rootOf(exchange);
    });
  }

  /** Drops all exchanges. */
  clear(): void {
    this.#own = undefined;
    this.#theirs = undefined;
  }

  receive({ hashes, equal }: ReservedRecord): void {
    if (equal || hashes) this.#touch();
    if (equal) this.#receiveEqual(equal);
    if (!hashes) return;
    if (hashes.level === "root") this.#receiveRoot(hashes);
    else if (hashes.level === "groups") this.#receiveGroups(hashes);
    else this.#receiveBuckets(hashes);
  }

  /** To be called for the first part of a round of the peer. */
  roundStarted(part: RoundPart, { isIn }: RoundScope): void {
    this.#touch();
    const exchange = this.#find(part);
    if (part.isAnswer || !exchange?.sent || !isIn) return;
    // The round is the answer to hashes: what it does not cover is equal.
    const { isIn: sentIn, revision } = exchange.sent;
    this.#confirm((bucket) => !isIn[bucket] && (!sentIn || sentIn[bucket] === 1), revision);
  }

  /** To be called for each round that is complete. */
  roundEnded(id: ExchangeId, { isAnswer, scope, isWhole }: IncomingRound): void {
    const exchange = this.#find(id);
    if (!isAnswer) this.#answer(exchange ?? newExchange(id.exchange, !id.isStarter), scope);
    if (exchange) this.#end(exchange, isWhole);
    else if (!scope.buckets) this.#options.onEnd(isWhole);
  }

  /** Starts an exchange. `begin` decides on its first step when that is sent. */
  #open(begin: (exchange: Exchange) => () => StepContent, isFollowUp = false): void {
    const exchange = newExchange(this.#started++ % EXCHANGES, true, isFollowUp);
    this.#own = exchange;
    this.#startedMs = this.#touch();
    let next: (() => StepContent) | undefined;
    const send = () => {
      next ??= begin(exchange);
      return next();
    };
    this.#enqueue(exchange, () => (this.#own === exchange ? send() : undefined), isFollowUp);
  }

  #receiveRoot(hashes: Hashes): void {
    const { replica } = this.#options;
    const theirs = newExchange(hashes.exchange, false);
    this.#theirs = theirs;
    // The peer answers the round of this side by an exchange.
    if (this.#own?.startedByRound) this.#own = undefined;
    if (isEqual(hashes.words, replica.fingerprints.root())) {
      this.#options.confirmations.confirmIn(undefined, replica.revision);
      this.#sayEqual(theirs);
    } else if (replica.size <= FEW_KEYS) this.#sendRound(theirs, ALL_KEYS);
    else {
      this.#enqueue(theirs, () => {
        theirs.sent = { isIn: undefined, revision: replica.revision };
        const words = replica.fingerprints.groups().slice();
        return recordOf({ hashes: { ...idOf(theirs), level: "groups", groups: [], words } });
      });
    }
  }

  #receiveGroups(hashes: Hashes): void {
    const own = this.#find(hashes);
    if (!own) return;
    const { replica } = this.#options;
    const groups = differing(hashes.words, replica.fingerprints.groups());
    const isIn = groupsMask(groups);
    this.#confirm((bucket) => !isIn[bucket]);
    if (groups.length === 0) this.#sayEqual(own);
    else if (replica.size <= FEW_KEYS_PER_BUCKET) this.#sendRound(own, scopeOf(groups.flatMap(bucketsIn)));
    else {
      this.#enqueue(own, () => {
        own.sent = { isIn, revision: replica.revision };
        const words = new Int32Array(2 * GROUP_BUCKETS * groups.length);
        for (const [i, group] of groups.entries()) {
          words.set(replica.fingerprints.bucketsOf(group), 2 * GROUP_BUCKETS * i);
        }
        return recordOf({ hashes: { ...idOf(own), level: "buckets", groups, words } });
      });
    }
  }

  #receiveBuckets({ groups, words, ...id }: Hashes): void {
    const theirs = this.#find(id);
    if (!theirs) return;
    const { fingerprints } = this.#options.replica;
    const isListed = groupsMask(groups);
    if (theirs.sent) this.#confirm((bucket) => !isListed[bucket], theirs.sent.revision);
    const buckets = groups.flatMap((group, i) => {
      const hashes = words.subarray(2 * GROUP_BUCKETS * i, 2 * GROUP_BUCKETS * (i + 1));
      return differing(hashes, fingerprints.bucketsOf(group)).map((at) => group * GROUP_BUCKETS + at);
    });
    const scope = scopeOf(buckets);
    this.#confirm((bucket) => isListed[bucket] === 1 && !scope.isIn?.[bucket]);
    if (buckets.length === 0) this.#sayEqual(theirs);
    else this.#sendRound(theirs, scope);
  }

  #receiveEqual(id: ExchangeId): void {
    const exchange = this.#find(id);
    if (!exchange) return;
    const { sent } = exchange;
    if (sent) this.#options.confirmations.confirmIn(sent.isIn, sent.revision);
    this.#end(exchange, true);
  }

  /** Answers a round of the peer. If few keys were listed of many, by an exchange: once, so that it ends. */
  #answer(exchange: Exchange, scope: RoundScope): void {
    const isMuch = !scope.buckets && this.#options.replica.size > FEW_KEYS;
    if (isMuch && !exchange.isFollowUp) this.#open((followUp) => () => this.#rootOf(followUp), true);
    else this.#sendRound(exchange, scope, true);
  }

  /** Says that the last hashes of the peer are those of this side. */
  #sayEqual(exchange: Exchange): void {
    this.#enqueue(exchange, () => recordOf({ equal: idOf(exchange) }));
    this.#end(exchange, true);
  }

  #sendRound(exchange: Exchange, scope: RoundScope, isAnswer = false): void {
    exchange.sent = undefined;
    this.#enqueue(exchange, this.#round(exchange, scope, isAnswer), isAnswer);
  }

  #round(exchange: Exchange, scope: RoundScope, isAnswer = false): () => StepContent {
    const { replica, chunkKeys } = this.#options;
    const round = new OutgoingRound(replica, { scope, chunkKeys, id: idOf(exchange), isAnswer });
    return () => {
      const { digests, part, isLast } = round.next();
      return { digests, isLast, record: part && { round: part } };
    };
  }

  #rootOf(exchange: Exchange): StepContent {
    const { replica } = this.#options;
    exchange.sent = { isIn: undefined, revision: replica.revision };
    const words = replica.fingerprints.root();
    return recordOf({ hashes: { ...idOf(exchange), level: "root", groups: [], words } });
  }

  /** Sends the next step of an exchange. Drops the one before, if the peer has started another exchange meanwhile. */
  #enqueue({ isStarter }: Exchange, next: OutboxStep["next"], awaitsRequested = false): void {
    const { outbox } = this.#options;
    const role = isStarter ? "own" : "theirs";
    const previous = this.#pending[role];
    if (previous) outbox.drop(previous);
    const step = { awaitsRequested, next };
    this.#pending[role] = step;
    outbox.enqueue(step);
  }

  #touch(): number {
    this.#activeMs = this.#options.replica.environment.monotonicMs();
    return this.#activeMs;
  }

  /** The exchange that a section of the peer belongs to, if it has not ended. */
  #find({ exchange, isStarter }: ExchangeId): Exchange | undefined {
    const open = isStarter ? this.#theirs : this.#own;
    return open?.exchange === exchange ? open : undefined;
  }

  #end(exchange: Exchange, isWhole: boolean): void {
    if (this.#own === exchange) this.#own = undefined;
    if (this.#theirs === exchange) this.#theirs = undefined;
    this.#options.onEnd(isWhole);
  }

  /** The peer has the entries up to `revision` in the buckets for which `has` returns true. Default: all until now. */
  #confirm(has: (bucket: number) => boolean, revision = this.#options.replica.revision): void {
    const { confirmations } = this.#options;
    if (confirmations.size === 0) return;
    const isIn = Uint8Array.from({ length: BUCKETS }, (_, bucket) => Number(has(bucket)));
    confirmations.confirmIn(isIn, revision);
  }
}

const newExchange = (exchange: number, isStarter: boolean, isFollowUp = false): Exchange => ({
  exchange,
  isStarter,
  isFollowUp,
  startedByRound: false,
  sent: undefined,
});

const idOf = ({ exchange, isStarter }: ExchangeId): ExchangeId => ({ exchange, isStarter });

const recordOf = (record: ReservedRecord): StepContent => ({ record, digests: [], isLast: true });

/** The indices of the hashes that differ. */
function differing(a: Int32Array, b: Int32Array): number[] {
  const found: number[] = [];
  for (let i = 0; i < a.length; i += 2) if (a[i] !== b[i] || a[i + 1] !== b[i + 1]) found.push(i / 2);
  return found;
}

const isEqual = (a: Int32Array, b: Int32Array): boolean => differing(a, b).length === 0;

const bucketsIn = (group: number): number[] =>
  Array.from({ length: GROUP_BUCKETS }, (_, i) => group * GROUP_BUCKETS + i);

/** A 1 for each bucket of `groups`. */
function groupsMask(groups: readonly number[]): Uint8Array {
  const isIn = new Uint8Array(BUCKETS);
  for (const group of groups) isIn.fill(1, group * GROUP_BUCKETS, (group + 1) * GROUP_BUCKETS);
  return isIn;
}
