import { create } from "@bufbuild/protobuf";
import { type Digest, DigestSchema } from "../../gen/atomix/map/map_pb.js";
import { RecordReader, RecordWriter } from "./record-bytes.js";

/**
 * The key under which an advertisement carries a record of the protocol's own. No entry can have it, since keys are not
 * empty. A peer that does not know it sees an unknown key with the lowest timestamp, and requests it in vain.
 */
export const RESERVED_KEY = "";

/** The number of buckets, by the hash of the key; of their groups; and of the buckets in a group. */
export const BUCKETS = 4096;
export const GROUPS = 64;
export const GROUP_BUCKETS = BUCKETS / GROUPS;

/** Statements about the sender's copy. */
export interface MemberHello {
  /** The clock of the receiver up to which the sender had all of its entries; undefined if it had none. */
  syncedUpTo?: bigint | undefined;
  /** Tells the receiver to drop the entries that it did not write itself, because it was away for too long. */
  afresh?: boolean | undefined;
}

/** The exchange that a section belongs to. Each side numbers those that it starts, from 0 to 127 and again. */
export interface ExchangeId {
  exchange: number;
  /** Whether the sender of the section has started the exchange. */
  isStarter: boolean;
}

/** Hashes of the sender's entries, 2 words of 32 bits each, the high one first. */
export interface Hashes extends ExchangeId {
  /** "root": one hash; "groups": one for each group; "buckets": one for each bucket of the groups in `groups`. */
  level: "root" | "groups" | "buckets";
  /** The groups whose buckets follow, in order. */
  groups: readonly number[];
  words: Int32Array;
}

/** One part of a round: the digests beside the record are of the keys in `buckets`. */
export interface RoundPart extends ExchangeId {
  /** The buckets that the round covers, in order, in its first part; undefined there: all. */
  buckets?: readonly number[] | undefined;
  isFirst: boolean;
  isLast: boolean;
  /** Whether the round is the answer to one of the receiver, so that it needs none. */
  isAnswer: boolean;
}

/** The record at the reserved key. */
export interface ReservedRecord {
  hello?: MemberHello;
  hashes?: Hashes;
  /** All hashes that the receiver sent last are those of the sender. */
  equal?: ExchangeId;
  round?: RoundPart;
}

/** A change that older receivers cannot read has another version. */
const VERSION = 1;

const HELLO = 1;
const HASHES = 2;
const EQUAL = 3;
const ROUND = 4;

const LEVELS = ["root", "groups", "buckets"] as const;

const AFRESH = 1;
const [FIRST, LAST, ANSWER, ALL] = [1, 2, 4, 8];
const STARTER = 128;

/** The length of the lowest timestamp, which comes first, for peers that read an 8-byte clock. */
const CLOCK_BYTES = 8;

/** The digest that carries `record`. */
export function encodeReserved({ hello, hashes, equal, round }: ReservedRecord): Digest {
  const out = new RecordWriter();
  out.bytes(new Uint8Array(CLOCK_BYTES));
  out.byte(VERSION);
  if (hello) out.section(HELLO, (body) => writeHello(body, hello));
  if (hashes) out.section(HASHES, (body) => writeHashes(body, hashes));
  if (equal) out.section(EQUAL, (body) => writeExchange(body, equal));
  if (round) out.section(ROUND, (body) => writeRound(body, round));
  return create(DigestSchema, { timestamp: out.finish() });
}

/** The record of a digest; undefined if it has none, has another version, or is malformed. Skips unknown sections. */
export function decodeReserved({ timestamp, tombstone }: Digest): ReservedRecord | undefined {
  if (tombstone || timestamp.length <= CLOCK_BYTES || timestamp[CLOCK_BYTES] !== VERSION) return undefined;
  for (let i = 0; i < CLOCK_BYTES; i++) if (timestamp[i] !== 0) return undefined;
  const record: ReservedRecord = {};
  try {
    const input = new RecordReader(timestamp, CLOCK_BYTES + 1);
    while (!input.isAtEnd) {
      const kind = input.byte();
      const body = input.section();
      if (kind === HELLO) record.hello = readHello(body);
      else if (kind === HASHES) record.hashes = readHashes(body);
      else if (kind === EQUAL) record.equal = readExchange(body);
      else if (kind === ROUND) record.round = readRound(body);
    }
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  return record;
}

function writeHello(out: RecordWriter, { syncedUpTo, afresh = false }: MemberHello): void {
  out.byte(afresh ? AFRESH : 0);
  if (syncedUpTo !== undefined) out.uint64(syncedUpTo);
}

function readHello(input: RecordReader): MemberHello {
  const flags = input.byte();
  return {
    afresh: (flags & AFRESH) !== 0,
    ...(!input.isAtEnd && { syncedUpTo: input.uint64() }),
  };
}

function writeExchange(out: RecordWriter, { exchange, isStarter }: ExchangeId): void {
  out.byte(exchange | (isStarter ? STARTER : 0));
}

function readExchange(input: RecordReader): ExchangeId {
  const byte = input.byte();
  return { exchange: byte & ~STARTER, isStarter: (byte & STARTER) !== 0 };
}

function writeHashes(out: RecordWriter, hashes: Hashes): void {
  writeExchange(out, hashes);
  out.byte(LEVELS.indexOf(hashes.level));
  if (hashes.level === "buckets") out.increasing(hashes.groups);
  for (const word of hashes.words) out.uint32(word);
}

function readHashes(input: RecordReader): Hashes {
  const id = readExchange(input);
  const level = LEVELS[input.byte()];
  if (!level) throw new RangeError("the level of the hashes is unknown");
  const groups = level === "buckets" ? input.increasing(GROUPS) : [];
  const count = level === "root" ? 1 : level === "groups" ? GROUPS : groups.length * GROUP_BUCKETS;
  const words = Int32Array.from({ length: 2 * count }, () => input.uint32());
  return { ...id, level, groups, words };
}

function writeRound(out: RecordWriter, round: RoundPart): void {
  const { buckets, isFirst, isLast, isAnswer } = round;
  writeExchange(out, round);
  const isAll = isFirst && !buckets;
  out.byte((isFirst ? FIRST : 0) | (isLast ? LAST : 0) | (isAnswer ? ANSWER : 0) | (isAll ? ALL : 0));
  if (isFirst && buckets) out.increasing(buckets);
}

function readRound(input: RecordReader): RoundPart {
  const id = readExchange(input);
  const flags = input.byte();
  const has = (flag: number) => (flags & flag) !== 0;
  return {
    ...id,
    isFirst: has(FIRST),
    isLast: has(LAST),
    isAnswer: has(ANSWER),
    ...(has(FIRST) && !has(ALL) && { buckets: input.increasing(BUCKETS) }),
  };
}
