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

/** So many changes are sent without waiting for more. */
const BATCH_ENTRIES = 100;

/** The limits of one update and of one request. A single larger entry is an update of its own. */
const MESSAGE_ENTRIES = 1000;
const MESSAGE_BYTES = 1024 ** 2;

/** How many keys may be requested at a time. The others are requested after the next comparison. */
const REQUESTED_KEYS = 10_000;

/** How many rounds may be unanswered on each side: some peers answer none, or ask for more than they read. */
const MOST_ROUNDS = 3;

export interface OutboxOptions {
  /** The id of this member. */
  source: string;
  target: { namespace: string; name: string };
  /** How long a change waits for further changes, in milliseconds. */
  flushMs: number;
  /** How long to wait for the next requested entry, in milliseconds. */
  requestTimeoutMs: number;
  /** The number of keys in one advertisement; see Link. */
  chunkKeys: number;
  /** Called when there is more to send, or when something is due earlier. */
  wake: () => void;
}

/** An outgoing round of advertisements. */
type OutgoingRound = {
  /** The last advertised key; undefined before the first. */
  after: string | undefined;
  /** How many of the pending entries are sent before the next chunk. */
  entriesAhead: number;
  /** Whether it answers a round of the peer, so that the peer does not answer it. */
  isAnswer: boolean;
};

/**
 * The outgoing messages of one map to one peer. Pending entries are kept as keys and looked up when they are sent, so a
 * slow peer needs little memory, and gets only the newest entries.
 */
export class Outbox {
  readonly #replica: Replica;
  readonly #options: OutboxOptions;
  /** The keys whose entries are to be sent, in order. */
  readonly #outgoing = new Set<string>();
  #outgoingDueMs = Number.POSITIVE_INFINITY;
  /** The keys whose entries are to be requested. */
  readonly #toRequest = new Set<string>();
  /** The keys whose entries were requested and have not arrived. */
  readonly #requested = new Set<string>();
  /** The keys whose entries are to be requested only for confirmation. */
  readonly #toConfirm = new Set<string>();
  /** The keys whose entries were requested for confirmation. */
  readonly #confirming = new Set<string>();
  /** How many of `#outgoing` are sent before the requests for confirmation. */
  #entriesBeforeConfirm = 0;
  #requestExpiresMs = 0;
  #round: OutgoingRound | undefined;
  /** How many rounds of the peer this side has not answered, and how many of its own the peer has not. */
  #owedRounds = 0;
  #awaitedRounds = 0;
  #advertisedMs = Number.NEGATIVE_INFINITY;

  constructor(replica: Replica, options: OutboxOptions) {
    this.#replica = replica;
    this.#options = options;
  }

  /** The number of pending entries and requests. */
  get backlog(): number {
    return this.#outgoing.size + this.#toRequest.size;
  }

  /** Whether all requested entries have arrived. */
  get hasAllRequested(): boolean {
    return this.#toRequest.size === 0 && this.#requested.size === 0;
  }

  /** Whether the peer is to answer a round of this side with its own. */
  get awaitsRound(): boolean {
    return this.#awaitedRounds > 0;
  }

  /** Whether a comparison is in progress, so that no other should be started. */
  get isComparing(): boolean {
    const nowMs = this.#replica.environment.monotonicMs();
    return (
      this.#round !== undefined ||
      this.#owedRounds > 0 ||
      (this.awaitsRound && nowMs < this.#advertisedMs + this.#options.requestTimeoutMs) ||
      (!this.hasAllRequested && !this.#isRequestExpired(nowMs))
    );
  }

  /** When the last round was completed, by the monotonic clock. */
  get advertisedMs(): number {
    return this.#advertisedMs;
  }

  /** When next() has something to send, in Unix milliseconds; Infinity if there is nothing. */
  get dueMs(): number {
    if (this.#toRequest.size > 0 || this.#toConfirm.size > 0 || this.#round) return 0;
    if (this.#outgoing.size >= BATCH_ENTRIES) return 0;
    if (this.#owedRounds === 0) return this.#outgoingDueMs;
    return this.#requested.size === 0 ? 0 : Math.min(this.#outgoingDueMs, this.#requestExpiresMs);
  }

  /** Sends the entry at `key` within `flushMs`, together with other changes. */
  changed(key: string): void {
    const dueMs = this.#replica.environment.monotonicMs() + this.#options.flushMs;
    this.#outgoing.add(key);
    if (dueMs < this.#outgoingDueMs) this.#outgoingDueMs = dueMs;
    else if (this.#outgoing.size !== BATCH_ENTRIES) return;
    this.#options.wake();
  }

  /** Sends the entry at `key` without delay, as an answer to the peer. */
  send(key: string): void {
    this.#outgoing.add(key);
    this.flush();
  }

  /** Sends pending entries without delay. */
  flush(): void {
    if (this.#outgoing.size === 0 || this.#outgoingDueMs === 0) return;
    this.#outgoingDueMs = 0;
    this.#options.wake();
  }

  /** Requests the entry at `key`; false if there are too many requests. */
  request(key: string): boolean {
    if (this.#requested.has(key)) return true;
    if (this.#toRequest.size + this.#requested.size >= REQUESTED_KEYS) return false;
    this.#toRequest.add(key);
    this.#options.wake();
    return true;
  }

  /** Requests the entry at `key` for confirmation, after this side's own has been sent. */
  confirm(key: string): void {
    this.#toConfirm.add(key);
    this.#entriesBeforeConfirm = this.#outgoing.size;
    this.#options.wake();
  }

  /** To be called for each entry that the peer sends. Returns whether it was requested for confirmation. */
  received(key: string): boolean {
    this.#toRequest.delete(key);
    if (this.#requested.delete(key)) {
      this.#requestExpiresMs = this.#replica.environment.monotonicMs() + this.#options.requestTimeoutMs;
      if (this.#owedRounds > 0 && this.#requested.size === 0) this.#options.wake();
    }
    return this.#confirming.delete(key);
  }

  /** Forgets the requested entries that did not arrive. The next comparison requests them again. */
  forgetRequests(): void {
    this.#requested.clear();
  }

  /**
   * Starts a round: advertises all keys, so that the peer sends and requests what differs, and answers with its own.
   */
  advertise(): void {
    if (this.#round) return;
    this.#confirming.clear();
    this.#startRound(false);
    this.#options.wake();
  }

  /** To be called when the peer has completed a round: the answer to this side's, or one that this side answers. */
  roundReceived(): void {
    // Each round has its own answer. With fewer, an answer would be taken for a new round, and be answered for ever.
    if (this.awaitsRound) {
      this.#awaitedRounds--;
    } else {
      // The answer waits for the requested entries, so that the peer does not see them as missing.
      if (this.#owedRounds < MOST_ROUNDS) this.#owedRounds++;
      this.#requestExpiresMs = this.#replica.environment.monotonicMs() + this.#options.requestTimeoutMs;
      this.#options.wake();
    }
  }

  /** The next message; undefined if nothing is due. */
  next(nowMs: number): Message | undefined {
    if (this.#toRequest.size > 0) return this.#requestFor(this.#toRequest, this.#requested);
    if (this.#toConfirm.size > 0) {
      return (
        (this.#entriesBeforeConfirm > 0 && this.#update()) ||
        this.#requestFor(this.#toConfirm, this.#confirming)
      );
    }
    if (
      this.#owedRounds > 0 &&
      !this.#round &&
      (this.#requested.size === 0 || this.#isRequestExpired(nowMs))
    ) {
      this.#startRound(true);
    }
    if (this.#round)
      return (this.#round.entriesAhead > 0 && this.#update()) || this.#advertisement(this.#round);
    const due = this.#outgoingDueMs <= nowMs || this.#outgoing.size >= BATCH_ENTRIES;
    return due ? this.#update() : undefined;
  }

  #isRequestExpired(nowMs: number): boolean {
    return nowMs >= this.#requestExpiresMs;
  }

  #startRound(isAnswer: boolean): void {
    if (isAnswer) this.#owedRounds--;
    // Entries are sent first, so that the peer does not request what it sees advertised.
    this.#round = { after: undefined, entriesAhead: this.#outgoing.size, isAnswer };
  }

  #requestFor(keys: Set<string>, requested: Set<string>): Message {
    const request = create(UpdateRequestSchema, { timestamp: this.#replica.clock.read() });
    for (const key of keys) {
      if (request.keys.length >= MESSAGE_ENTRIES) break;
      keys.delete(key);
      requested.add(key);
      request.keys.push(key);
    }
    this.#requestExpiresMs = this.#replica.environment.monotonicMs() + this.#options.requestTimeoutMs;
    return this.#message({ case: "updateRequest", value: request });
  }

  #update(): Message | undefined {
    const entries: [key: string, value: MapValue][] = [];
    let bytes = 0;
    for (const key of this.#outgoing) {
      const value = this.#replica.get(key);
      const size = sizeOf(key, value);
      const isFull = entries.length >= MESSAGE_ENTRIES || bytes + size > MESSAGE_BYTES;
      if (isFull && entries.length > 0) break;
      this.#outgoing.delete(key);
      this.#entriesBeforeConfirm--;
      if (this.#round) this.#round.entriesAhead--;
      // The tombstone was forgotten meanwhile.
      if (!value) continue;
      entries.push([key, value]);
      bytes += size;
    }
    if (this.#outgoing.size === 0) this.#outgoingDueMs = Number.POSITIVE_INFINITY;
    if (entries.length === 0) return undefined;
    const value = create(UpdateSchema, { timestamp: this.#replica.clock.read() });
    // fromEntries() also sets the key "__proto__", which an assignment would not.
    value.updates = Object.fromEntries(entries);
    return this.#message({ case: "update", value });
  }

  #advertisement(round: OutgoingRound): Message {
    const keys = this.#replica.keys(round.after, undefined, this.#options.chunkKeys);
    const value = create(AntiEntropyAdvertisementSchema, { timestamp: this.#replica.clock.read() });
    const digestOf = (key: string) => this.#replica.get(key)?.digest ?? create(DigestSchema);
    value.digest = Object.fromEntries(keys.map((key) => [key, digestOf(key)]));
    if (keys.length === this.#options.chunkKeys) {
      round.after = keys.at(-1);
      // Only the entries that are pending now are sent before the next chunk, so that steady changes do not block the
      // round.
      round.entriesAhead = this.#outgoing.size;
    } else {
      this.#round = undefined;
      this.#advertisedMs = this.#replica.environment.monotonicMs();
      if (!round.isAnswer && this.#awaitedRounds < MOST_ROUNDS) this.#awaitedRounds++;
    }
    return this.#message({ case: "antiEntropyAdvertisement", value });
  }

  #message(message: Message["message"]): Message {
    const { source, target } = this.#options;
    return create(MessageSchema, { source, target, message });
  }
}
