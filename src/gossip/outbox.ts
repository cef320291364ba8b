import { create } from "@bufbuild/protobuf";
import {
  AntiEntropyAdvertisementSchema,
  DigestSchema,
  type MapValue,
  type Message,
  MessageSchema,
  UpdateRequestSchema,
  UpdateSchema,
} from "../../gen/atomix/map/map_pb.js";
import { type Replica, sizeOf } from "./replica.js";

/** So many changes do not wait for more. */
const BATCH_ENTRIES = 100;

/** What one update holds at most, but for a single larger entry, and one request. */
const MESSAGE_ENTRIES = 1000;
const MESSAGE_BYTES = 1024 ** 2;

/** The keys that may be asked for at a time. What is beyond comes with the next comparison. */
const ASKED_KEYS = 10_000;

export interface OutboxOptions {
  /** The id of this member. */
  source: string;
  target: { namespace: string; name: string };
  /** How long a change may wait for others, in milliseconds. */
  flushMs: number;
  /** How long entries that were asked for may be on their way, in milliseconds, the last one that came counting. */
  patienceMs: number;
  /** The keys of one advertisement; see Link. */
  chunkKeys: number;
  /** Called when there is more to send than before, or sooner. */
  wake: () => void;
}

/** A round that goes out. */
type Round = {
  /** The last key that was told; undefined before the first. */
  after: string | undefined;
  /** How many of the entries that wait go before the next chunk. */
  ahead: number;
  /** Whether it answers a round of the peer, so that it asks for none itself. */
  answer: boolean;
};

/**
 * What one peer is to be told about one map. Entries wait as keys and are looked up when their turn comes, so a peer
 * that does not read costs no more than that, and is told the newest only.
 */
export class Outbox {
  readonly #replica: Replica;
  readonly #options: OutboxOptions;
  /** The keys whose entries the peer is to be sent, in the order in which they came up. */
  readonly #outgoing = new Set<string>();
  #outgoingDueMs = Number.POSITIVE_INFINITY;
  readonly #wanted = new Set<string>();
  readonly #asked = new Set<string>();
  /** The keys that are asked for only to see that the peer has got them. */
  readonly #checks = new Set<string>();
  /** Those that were asked for. */
  readonly #checked = new Set<string>();
  /** How many of `#outgoing` go before the checks. */
  #aheadOfChecks = 0;
  #patientUntilMs = 0;
  #round: Round | undefined;
  #owesRound = false;
  #awaitsRound = false;
  #advertisedMs = Number.NEGATIVE_INFINITY;

  constructor(replica: Replica, options: OutboxOptions) {
    this.#replica = replica;
    this.#options = options;
  }

  /** How many entries and questions wait to be sent. */
  get backlog(): number {
    return this.#outgoing.size + this.#wanted.size;
  }

  /** Whether everything that was asked for has arrived. */
  get satisfied(): boolean {
    return this.#wanted.size === 0 && this.#asked.size === 0;
  }

  /** Whether the peer is to tell all its keys because this side has. */
  get awaiting(): boolean {
    return this.#awaitsRound;
  }

  /** Whether a comparison is under way that a new one would only disturb. */
  get comparing(): boolean {
    return (
      this.#round !== undefined || this.#owesRound || (!this.satisfied && !this.#outOfPatience(Date.now()))
    );
  }

  /** When the last round was sent to its end, in Unix milliseconds. */
  get advertisedMs(): number {
    return this.#advertisedMs;
  }

  /** When next() has something to send, in Unix milliseconds; Infinity while there is nothing. */
  get dueMs(): number {
    if (this.#wanted.size > 0 || this.#checks.size > 0 || this.#round) return 0;
    if (this.#outgoing.size >= BATCH_ENTRIES) return 0;
    if (!this.#owesRound) return this.#outgoingDueMs;
    return this.#asked.size === 0 ? 0 : Math.min(this.#outgoingDueMs, this.#patientUntilMs);
  }

  /** Sends the entry at `key` before long, together with other changes. */
  changed(key: string): void {
    const dueMs = Date.now() + this.#options.flushMs;
    this.#outgoing.add(key);
    if (dueMs < this.#outgoingDueMs) this.#outgoingDueMs = dueMs;
    else if (this.#outgoing.size !== BATCH_ENTRIES) return;
    this.#options.wake();
  }

  /** Sends the entry at `key` now, as an answer to what the peer said. */
  send(key: string): void {
    this.#outgoing.add(key);
    this.flush();
  }

  /** Sends what waits now, not with later changes. */
  flush(): void {
    if (this.#outgoing.size === 0 || this.#outgoingDueMs === 0) return;
    this.#outgoingDueMs = 0;
    this.#options.wake();
  }

  /** Asks for the entry at `key`; false where too much has been asked for already. */
  want(key: string): boolean {
    if (this.#asked.has(key)) return true;
    if (this.#wanted.size + this.#asked.size >= ASKED_KEYS) return false;
    this.#wanted.add(key);
    this.#options.wake();
    return true;
  }

  /** Asks for the entry at `key` once this side's own has been sent. */
  check(key: string): void {
    this.#checks.add(key);
    this.#aheadOfChecks = this.#outgoing.size;
    this.#options.wake();
  }

  /** The peer has sent its entry at `key`. Returns whether that was for a check. */
  arrived(key: string): boolean {
    this.#wanted.delete(key);
    if (this.#asked.delete(key)) {
      this.#patientUntilMs = Date.now() + this.#options.patienceMs;
      if (this.#owesRound && this.#asked.size === 0) this.#options.wake();
    }
    return this.#checked.delete(key);
  }

  /** Forgets what was asked for and did not come: the next comparison shows whether it is still to be had. */
  giveUp(): void {
    this.#asked.clear();
  }

  /** Tells all keys, so that the peer sends and asks for what differs, and then tells its own. */
  advertise(): void {
    if (this.#round) return;
    this.#checked.clear();
    this.#begin(false);
    this.#options.wake();
  }

  /** The peer has told all its keys: this is what this side waited for, or it is to tell its own in turn. */
  roundArrived(): void {
    if (this.#awaitsRound) {
      this.#awaitsRound = false;
    } else {
      // After the entries that were asked for have come, so that the peer does not see them as missing.
      this.#owesRound = true;
      this.#patientUntilMs = Date.now() + this.#options.patienceMs;
      this.#options.wake();
    }
  }

  /** The next message, or undefined while nothing is due. */
  next(nowMs: number): Message | undefined {
    if (this.#wanted.size > 0) return this.#request(this.#wanted, this.#asked);
    if (this.#checks.size > 0) {
      return (this.#aheadOfChecks > 0 && this.#batch()) || this.#request(this.#checks, this.#checked);
    }
    if (this.#owesRound && !this.#round && (this.#asked.size === 0 || this.#outOfPatience(nowMs))) {
      this.#begin(true);
    }
    if (this.#round) return (this.#round.ahead > 0 && this.#batch()) || this.#chunk(this.#round);
    const due = this.#outgoingDueMs <= nowMs || this.#outgoing.size >= BATCH_ENTRIES;
    return due ? this.#batch() : undefined;
  }

  #outOfPatience(nowMs: number): boolean {
    return nowMs >= this.#patientUntilMs;
  }

  #begin(answer: boolean): void {
    if (answer) this.#owesRound = false;
    // Entries go first: a peer that has them does not ask for what it sees advertised.
    this.#round = { after: undefined, ahead: this.#outgoing.size, answer };
  }

  #request(keys: Set<string>, asked: Set<string>): Message {
    const request = create(UpdateRequestSchema, { timestamp: this.#replica.clock.read() });
    for (const key of keys) {
      if (request.keys.length >= MESSAGE_ENTRIES) break;
      keys.delete(key);
      asked.add(key);
      request.keys.push(key);
    }
    this.#patientUntilMs = Date.now() + this.#options.patienceMs;
    return this.#message({ case: "updateRequest", value: request });
  }

  #batch(): Message | undefined {
    const entries: [key: string, value: MapValue][] = [];
    let bytes = 0;
    for (const key of this.#outgoing) {
      const value = this.#replica.get(key);
      const size = sizeOf(key, value);
      const isFull = entries.length >= MESSAGE_ENTRIES || bytes + size > MESSAGE_BYTES;
      if (isFull && entries.length > 0) break;
      this.#outgoing.delete(key);
      this.#aheadOfChecks--;
      if (this.#round) this.#round.ahead--;
      // A tombstone may have been forgotten meanwhile.
      if (!value) continue;
      entries.push([key, value]);
      bytes += size;
    }
    if (this.#outgoing.size === 0) this.#outgoingDueMs = Number.POSITIVE_INFINITY;
    if (entries.length === 0) return undefined;
    const value = create(UpdateSchema, { timestamp: this.#replica.clock.read() });
    // Not one by one: the key "__proto__" is one like any other.
    value.updates = Object.fromEntries(entries);
    return this.#message({ case: "update", value });
  }

  #chunk(round: Round): Message {
    const keys = this.#replica.keys(round.after, undefined, this.#options.chunkKeys);
    const value = create(AntiEntropyAdvertisementSchema, { timestamp: this.#replica.clock.read() });
    const digestOf = (key: string) => this.#replica.get(key)?.digest ?? create(DigestSchema);
    value.digest = Object.fromEntries(keys.map((key) => [key, digestOf(key)]));
    if (keys.length === this.#options.chunkKeys) {
      round.after = keys.at(-1);
      // What changes all the time does not hold up the round: only what waits by now goes before its next chunk.
      round.ahead = this.#outgoing.size;
    } else {
      this.#round = undefined;
      this.#advertisedMs = Date.now();
      if (!round.answer) this.#awaitsRound = true;
    }
    return this.#message({ case: "antiEntropyAdvertisement", value });
  }

  #message(message: Message["message"]): Message {
    const { source, target } = this.#options;
    return create(MessageSchema, { source, target, message });
  }
}
