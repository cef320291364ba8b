import { create } from "@bufbuild/protobuf";
import { type Digest, DigestSchema } from "../../gen/atomix/map/map_pb.js";
import { utf8Length } from "../lib/utf8.js";
import { BUCKETS, type ExchangeId, type RoundPart } from "./reserved-key.js";
import type { LinkedReplica } from "./restricted-replica.js";

/** The keys of a round: of these buckets, or all. */
export interface RoundScope {
  /** In order; undefined: all. */
  buckets?: readonly number[] | undefined;
  /** A 1 for each of the buckets. */
  isIn?: Uint8Array | undefined;
}

export const ALL_KEYS: RoundScope = {};

export function scopeOf(buckets: readonly number[] | undefined): RoundScope {
  if (!buckets) return ALL_KEYS;
  const isIn = new Uint8Array(BUCKETS);
  for (const bucket of buckets) isIn[bucket] = 1;
  return { buckets, isIn };
}

/** The keys in `scope` after `after` up to `last`, in order. */
export const keysOf = (
  replica: LinkedReplica,
  { isIn }: RoundScope,
  after?: string,
  last?: string,
): Iterable<string> => (isIn ? replica.keysIn(isIn, after, last) : replica.keys(after, last));

/** A part of a round of this side. */
export interface OutgoingPart {
  digests: [key: string, digest: Digest][];
  /** The record beside them; undefined for a peer that does not know it. */
  part: RoundPart | undefined;
  isLast: boolean;
}

/** The limit of the keys and timestamps of one part in bytes, beyond the first key. */
const PART_BYTES = 1024 ** 2 - 64 * 1024;

/** The approximate size of a digest without its key and timestamp. */
const DIGEST_OVERHEAD_BYTES = 12;

/** A round of this side: lists the digests of its keys in parts. */
export class OutgoingRound {
  readonly #replica: LinkedReplica;
  readonly #scope: RoundScope;
  readonly #chunkKeys: number;
  readonly #id: ExchangeId | undefined;
  /** Whether it answers a round of the peer, so that the peer does not answer it. */
  readonly isAnswer: boolean;
  #after: string | undefined;
  #isFirst = true;

  /** Without an `id` the peer knows only rounds over all keys, and takes a part of other than `chunkKeys` as the last. */
  constructor(
    replica: LinkedReplica,
    {
      scope = ALL_KEYS,
      ...options
    }: { scope?: RoundScope; chunkKeys: number; id?: ExchangeId | undefined; isAnswer: boolean },
  ) {
    this.#replica = replica;
    this.#scope = scope;
    this.#chunkKeys = options.chunkKeys;
    this.#id = options.id;
    this.isAnswer = options.isAnswer;
  }

  next(): OutgoingPart {
    const { keys, hasMore } = this.#id ? this.#keys(PART_BYTES) : this.#keys(Number.POSITIVE_INFINITY);
    const isLast = this.#id ? !hasMore : keys.length !== this.#chunkKeys;
    const part = this.#id && {
      ...this.#id,
      buckets: this.#isFirst ? this.#scope.buckets : undefined,
      isFirst: this.#isFirst,
      isLast,
      isAnswer: this.isAnswer,
    };
    this.#isFirst = false;
    this.#after = keys.at(-1) ?? this.#after;
    return { digests: keys.map((key) => [key, digestOf(this.#replica, key)]), part, isLast };
  }

  #keys(mostBytes: number): { keys: string[]; hasMore: boolean } {
    const keys: string[] = [];
    let bytes = 0;
    for (const key of keysOf(this.#replica, this.#scope, this.#after)) {
      const { timestamp } = digestOf(this.#replica, key);
      bytes += utf8Length(key) + timestamp.length + DIGEST_OVERHEAD_BYTES;
      const isFull = keys.length >= this.#chunkKeys || bytes > mostBytes;
      if (isFull && keys.length > 0) return { keys, hasMore: true };
      keys.push(key);
    }
    return { keys, hasMore: false };
  }
}

const NO_DIGEST = create(DigestSchema);

const digestOf = (replica: LinkedReplica, key: string): Digest => replica.get(key)?.digest ?? NO_DIGEST;
