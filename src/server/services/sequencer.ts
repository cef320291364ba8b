import type { ServiceImpl } from "@connectrpc/connect";
import {
  SequencerOptions_AutoIncrement as Increment,
  type Runtime,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { ID_COUNT_HEADER } from "../../rpc/extension-headers.js";
import type { ServiceContext } from "../context.js";
import type { Entry, KeyStore } from "../engine.js";
import { exhausted, invalid } from "../errors.js";
import { KeyQuota } from "./shared/key-quota.js";
import { keyOf, keyPrefix } from "./shared/keyspace.js";

const MOST_IDS = 100_000;
const MAX_INT64 = 2n ** 63n - 1n;

/** The sequencer RPC. The engine stores the last reserved id of each sequence, in decimal. */
export function sequencerService({
  engine: { keys },
  components,
  limits,
  closing,
}: Pick<ServiceContext, "engine" | "components" | "limits" | "closing">): Pick<
  ServiceImpl<typeof Runtime>,
  "getNextId"
> {
  const sequences = new Map<string, Sequence>();
  const limit = { name: "sequencerKeys", most: limits.sequencerKeys, why: "as many sequences have begun" };
  const begun = new KeyQuota({ keys, prefix: keyPrefix("sequencer"), limit, closing });

  const sequenceAt = (key: string): Sequence => {
    const sequence = sequences.get(key) ?? new Sequence(keys, key);
    // A Map keeps the order of insertion, so its first entry is the least recently used. When it is removed, only the
    // rest of its segment is lost.
    sequences.delete(key);
    sequences.set(key, sequence);
    if (sequences.size > limits.sequences) sequences.delete(sequences.keys().next().value ?? "");
    return sequence;
  };

  return {
    async getNextId({ storeName, key, options, metadata }, { responseHeader }) {
      const { biggerThan, segment } = components.get("sequencer", storeName);
      const floor = Object.hasOwn(biggerThan, key) ? (biggerThan[key] ?? 0n) : 0n;
      const count = countOf(metadata);
      const at = keyOf("sequencer", storeName, key);
      const strong = options?.increment === Increment.STRONG;
      const nextId = await begun.admit(at, async () => {
        const sequence = sequenceAt(at);
        if (!strong && count === undefined) return sequence.nextOfSegment(floor, BigInt(segment));
        return (await sequence.reserve({ floor, least: count ?? 1n, most: count ?? 1n })).first;
      });
      if (count !== undefined) responseHeader.set(ID_COUNT_HEADER, String(count));
      return { nextId };
    },
  };
}

function countOf({ count }: Record<string, string>): bigint | undefined {
  if (count === undefined) return undefined;
  if (/^[1-9]\d{0,5}$/.test(count) && Number(count) <= MOST_IDS) return BigInt(count);
  throw invalid('metadata["count"]', count, `must be a whole number from 1 to ${MOST_IDS}`);
}

/** A request for consecutive ids above `floor`: `most` of them, or at least `least` at the end of int64. */
type Reservation = { floor: bigint; least: bigint; most: bigint };

/** Consecutive ids. */
type Block = { first: bigint; end: bigint };

type Waiting = Reservation & { resolve(block: Block): void; reject(error: unknown): void };

/** One sequence as one server sees it. Other servers reserve ids of it at the same time. */
class Sequence {
  readonly #keys: KeyStore;
  readonly #key: string;
  /** The engine's entry after the last commit. If it has not changed since, a reservation needs no read. */
  #lastEntry: Entry | undefined;
  #waiting: Waiting[] = [];
  #reserving = false;
  #segment: Block = { first: 0n, end: 0n };
  #refill: Promise<void> | undefined;

  constructor(keys: KeyStore, key: string) {
    this.#keys = keys;
    this.#key = key;
  }

  /** Reserves ids above all earlier ones. Reservations during a commit share the next commit. */
  reserve(reservation: Reservation): Promise<Block> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...reservation, resolve, reject });
      if (!this.#reserving) void this.#reserveAll();
    });
  }

  /** The next id of the reserved segment; if that is used up, of a new segment of `size` ids. */
  async nextOfSegment(floor: bigint, size: bigint): Promise<bigint> {
    for (;;) {
      const { first, end } = this.#segment;
      // The floor may have been raised since the segment was reserved.
      const id = first > floor ? first : floor + 1n;
      if (id < end) {
        this.#segment = { first: id + 1n, end };
        return id;
      }
      this.#refill ??= this.reserve({ floor, least: 1n, most: size })
        .then((segment) => {
          this.#segment = segment;
        })
        .finally(() => {
          this.#refill = undefined;
        });
      await this.#refill;
    }
  }

  async #reserveAll(): Promise<void> {
    this.#reserving = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const blocks = await this.#commit(batch);
        for (const [i, { least, resolve, reject }] of batch.entries()) {
          const block = blocks[i];
          if (block) resolve(block);
          else reject(exhausted("int64", MAX_INT64, `the sequence has no room for ${least} more`));
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#reserving = false;
  }

  /** Reserves for all of `batch` in one commit; undefined if int64 has no room for a reservation. */
  async #commit(batch: readonly Reservation[]): Promise<(Block | undefined)[]> {
    let entry = this.#lastEntry ?? (await this.#keys.get(this.#key));
    for (;;) {
      const before = entry ? BigInt(fromUtf8(entry.value)) : 0n;
      const { blocks, last } = allocate(batch, before);
      if (last === before) return blocks;
      const value = utf8(String(last));
      const ifVersion = entry?.version ?? 0n;
      const commit = await this.#keys.commit([{ type: "set", key: this.#key, value, ifVersion }]);
      if (!("conflict" in commit)) {
        this.#lastEntry = { key: this.#key, value, version: commit.version };
        return blocks;
      }
      entry = commit.actual;
    }
  }
}

/** Allocates consecutive blocks for `batch`, beginning after the id `before`. Returns them and their last id. */
function allocate(
  batch: readonly Reservation[],
  before: bigint,
): { blocks: (Block | undefined)[]; last: bigint } {
  let last = before;
  const blocks = batch.map(({ floor, least, most }) => {
    // biome-ignore lint/complexity/useMathMinMax: Math.max accepts no bigint
    const base = last > floor ? last : floor;
    const room = MAX_INT64 - base;
    if (room < least) return undefined;
    last = base + (most < room ? most : room);
    return { first: base + 1n, end: last + 1n };
  });
  return { blocks, last };
}
