import type { AntiEntropyAdvertisement, MapValue, Message } from "../../gen/atomix/map/map_pb.js";
import { compareUtf8 } from "../lib/compare-utf8.js";
import { Confirmations } from "./confirmations.js";
import { DigestComparison, type IncomingRound } from "./digest-comparison.js";
import { HashExchanges } from "./hash-exchange.js";
import { IncomingRounds } from "./incoming-rounds.js";
import { Outbox, type OutboxOptions } from "./outbox.js";
import { PeerRecognition } from "./peer-recognition.js";
import { PlainRounds } from "./plain-rounds.js";
import { type Stored, sizeOf } from "./replica.js";
import { decodeReserved, type MemberHello, RESERVED_KEY } from "./reserved-key.js";
import type { LinkedReplica } from "./restricted-replica.js";
import { compareValues, isTruncatedCopy } from "./version.js";

/**
 * The number of keys in one advertisement, which all members must share. After exactly so many, more advertisements of
 * the round follow. One with fewer keys is the last; so is one with more, by a peer that sends all keys at once.
 */
const CHUNK_KEYS = 1000;

/** The approximate cost of comparing a key, both ways, in bytes. */
const DIGEST_BYTES = 128;

/** How long to wait for requested entries before they are requested again. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface LinkOptions extends Pick<OutboxOptions, "source" | "target" | "flushMs"> {
  /** Called when there is more to send, or when something is due earlier. Default: no function. */
  wake?: () => void;
  /** The number of keys in one advertisement. Default: 1000; tests use less. */
  chunkKeys?: number;
  /** Whether to compare by hashes. False for a peer that sees only a part of the keys. Default: true. */
  hashes?: boolean;
  /** What to say of this side in the first message to a peer that knows the reserved key. */
  hello?: () => MemberHello;
  /**
   * Called with what the peer says of itself. If the returned answer tells it to start afresh, nothing is compared
   * until it has. If `hello` tells this side so, its replica must have dropped its entries when this returns.
   */
  onHello?: (hello: MemberHello) => MemberHello | undefined;
}

/** The approximate cost of an exchange of hashes, in bytes. */
const EXCHANGE_BYTES = 4096;

/**
 * One map on the stream to one peer: handles the peer's messages, and decides what to send to it.
 *
 * Copies are compared by exchanges of hashes: see HashExchanges. A peer shows by the reserved key that it knows them.
 * With other peers, copies are compared in rounds. One side advertises the digests of all its keys in order, in chunks.
 * The other side sends entries that are newer or missing there, requests newer ones, and then advertises its own keys.
 * So this side begins with a message that every peer understands: an empty or small replica with its round, a larger
 * one with its root alone, and with a round if the peer does not answer in kind.
 */
export class Link {
  readonly #replica: LinkedReplica;
  readonly #options: LinkOptions;
  readonly #outbox: Outbox;
  readonly #chunkKeys: number;
  readonly #confirmations: Confirmations;
  readonly #comparison: DigestComparison;
  readonly #incoming: IncomingRounds;
  readonly #plainRounds: PlainRounds;
  readonly #exchanges: HashExchanges;
  readonly #peer: PeerRecognition;
  /** Whether the peer was told to start afresh, and has not. */
  #isPeerOutdated = false;
  #comparedMs: number;
  #rounds = 0;
  #hasWholeRound = false;
  #caughtUp = false;

  constructor(replica: LinkedReplica, options: LinkOptions) {
    const { chunkKeys = CHUNK_KEYS, wake = () => {}, hashes = true } = options;
    this.#replica = replica;
    this.#options = options;
    this.#chunkKeys = chunkKeys;
    this.#comparedMs = replica.environment.monotonicMs();
    this.#peer = new PeerRecognition(replica.environment);
    const outbox = new Outbox(replica, { ...options, wake, requestTimeoutMs: REQUEST_TIMEOUT_MS });
    const confirmations = new Confirmations(replica);
    this.#outbox = outbox;
    this.#confirmations = confirmations;
    this.#comparison = new DigestComparison(replica, outbox, confirmations);
    this.#plainRounds = new PlainRounds(replica, outbox, chunkKeys);
    const onEnd = (isWhole: boolean) => this.#endComparison(isWhole);
    this.#exchanges = new HashExchanges({ replica, outbox, confirmations, chunkKeys, onEnd });
    this.#incoming = new IncomingRounds({
      comparison: this.#comparison,
      chunkKeys,
      onStart: (part, scope) => this.#exchanges.roundStarted(part, scope),
      onEnd: (round) => this.#endRound(round),
    });
    if (!hashes) this.#peer.is("plain");
  }

  /** Whether the peer has confirmed the entry at `key`, or a newer one. */
  has(key: string): boolean {
    return this.#confirmations.has(key);
  }

  /** Whether the peer has confirmed all entries up to `revision`. */
  hasAll(revision: number): boolean {
    return this.#confirmations.hasAll(revision);
  }

  /** The number of comparisons of all keys that have ended on this side. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Whether all keys have been compared, and all newer entries of the peer have arrived. */
  get caughtUp(): boolean {
    return this.#caughtUp;
  }

  /** The number of pending entries and requests: at most the number of keys, and a constant. */
  get backlog(): number {
    return this.#outbox.backlog;
  }

  /** When next() has something to send, by the monotonic clock; Infinity if there is nothing. */
  get dueMs(): number {
    return Math.min(this.#outbox.dueMs, this.#peer.dueMs);
  }

  /** Whether a comparison is due: after changes every `everyMs` (longer for a large map), else every `idleMs`. */
  isStale(nowMs: number, everyMs: number, idleMs: number): boolean {
    if (this.#isComparing) return false;
    const startedMs = Math.max(this.#plainRounds.sentMs, this.#exchanges.startedMs);
    // Plain rounds of large maps are less frequent, to limit their bandwidth.
    const chunks = this.#peer.kind === "plain" ? Math.max(1, this.#replica.size / this.#chunkKeys) : 1;
    if (nowMs - startedMs < everyMs * chunks) return false;
    const { isComplete, size } = this.#confirmations;
    const isInSync = isComplete && size === 0 && this.#outbox.hasAllRequested;
    return !isInSync || nowMs - Math.max(this.#comparedMs, startedMs) >= idleMs;
  }

  /** Starts a comparison, unless one is in progress. */
  advertise(): void {
    const isComparing = this.#isComparing;
    if (!this.#outbox.hasAllRequested && !isComparing) {
      this.#outbox.forgetRequests();
      this.#hasWholeRound = false;
    }
    if (this.#peer.kind === "unknown") this.#greet();
    else if (this.#peer.kind === "plain") this.#plainRounds.start();
    else if (!isComparing) this.#exchanges.start();
  }

  /** Makes the peer confirm what it may lack: requests these entries from it, or compares all if that costs less. */
  confirm(): void {
    this.#outbox.flush();
    this.#confirmations.ask();
    if (this.#isCheaperToRequest([...this.#confirmations.keys()])) {
      for (const key of this.#confirmations.keys()) this.#outbox.confirm(key);
    } else if (!this.#plainRounds.isAwaited) this.advertise();
  }

  /** Sends the entry at `key` to the peer within `flushMs`, together with other changes. */
  changed(key: string): void {
    this.#confirmations.changed(key);
    this.#outbox.changed(key);
  }

  /** To be called when an entry of the peer was stored. */
  knows({ key, after, revision }: Stored): void {
    this.#confirmations.delete(key);
    this.#comparison.stored(key, after.digest, revision);
  }

  /** The next message to the peer; undefined if nothing is due. */
  next(nowMs: number): Message | undefined {
    if (this.#peer.isOverdue) this.#becomePlain();
    return this.#outbox.next(nowMs);
  }

  /** Handles a message of the peer. Returns its entries, which the caller stores. */
  receive({ message }: Message): [key: string, value: MapValue][] {
    if (message.case === undefined) return [];
    this.#replica.clock.observe(message.value.timestamp);
    switch (message.case) {
      case "update":
        return this.#receiveUpdates(Object.entries(message.value.updates));
      case "updateRequest":
        this.#receiveRequest(message.value.keys);
        return [];
      case "antiEntropyAdvertisement":
        this.#receiveAdvertisement(message.value);
        return [];
    }
  }

  /** Whether a comparison is in progress, so that no other should be started. */
  get #isComparing(): boolean {
    if (this.#outbox.isBusy || this.#exchanges.isOpen(REQUEST_TIMEOUT_MS)) return true;
    const nowMs = this.#replica.environment.monotonicMs();
    return this.#plainRounds.isAwaited && nowMs < this.#plainRounds.sentMs + REQUEST_TIMEOUT_MS;
  }

  #greet(): void {
    if (!this.#peer.greet()) return;
    this.#introduce();
    this.#exchanges.greet((greeting) => {
      // A peer that does not know the reserved key takes both as a whole round.
      if (this.#peer.kind === "unknown") this.#plainRounds.await();
      this.#peer.greeted(greeting);
    });
  }

  #introduce(): void {
    this.#outbox.introduce(() => this.#options.hello?.() ?? {});
  }

  #becomePlain(): void {
    this.#peer.is("plain");
    this.#exchanges.clear();
    if (this.#peer.greeting === "root" || this.#peer.greeting === "pending") this.#plainRounds.start();
  }

  #becomeCapable(): void {
    if (this.#peer.greeting === "none") this.#introduce();
    this.#peer.is("capable");
    this.#plainRounds.clear();
  }

  #receiveUpdates(updates: [key: string, value: MapValue][]): [key: string, value: MapValue][] {
    this.#peer.receivedEntries();
    for (const [key, value] of updates) {
      const isEcho = this.#outbox.received(key);
      const own = this.#replica.get(key);
      if (!own) continue;
      const covers = (entry: MapValue) => compareValues(value, entry) >= 0 || isTruncatedCopy(value, entry);
      this.#confirmations.confirmUpTo(key, covers);
      const isOlder = compareValues(value, own) < 0 && !isTruncatedCopy(value, own);
      // A newer entry that was written after the request for a confirmation is already pending.
      if (isOlder && !isEcho) this.#comparison.push(key);
    }
    this.#updateCaughtUp();
    return updates.filter(([key]) => key !== RESERVED_KEY);
  }

  #receiveRequest(keys: readonly string[]): void {
    for (const key of keys) if (this.#replica.get(key)) this.#outbox.send(key);
    // The peer takes the reserved key as an entry.
    if (this.#peer.kind === "unknown" && keys.includes(RESERVED_KEY)) this.#becomePlain();
  }

  #receiveAdvertisement({ digest }: AntiEntropyAdvertisement): void {
    const keys = Object.keys(digest)
      .filter((key) => key !== RESERVED_KEY)
      .sort(compareUtf8);
    const reserved = digest[RESERVED_KEY];
    const record = reserved && decodeReserved(reserved);
    if (!record || this.#options.hashes === false) {
      // A record without a round lists no keys: it does not say which are missing.
      if (record && !record.round) this.#plainRounds.start();
      else if (!this.#isPeerOutdated) this.#incoming.receivePlain(keys, digest);
      if (this.#peer.kind === "unknown") this.#becomePlain();
      return;
    }
    if (this.#peer.kind !== "capable") this.#becomeCapable();
    if (record.hello) this.#receiveHello(record.hello);
    if (this.#isPeerOutdated) return;
    this.#exchanges.receive(record);
    if (record.round) this.#incoming.receive(record.round, keys, digest);
  }

  #receiveHello(hello: MemberHello): void {
    const answer = this.#options.onHello?.(hello);
    this.#isPeerOutdated = answer?.afresh ?? false;
    if (answer) {
      this.#outbox.introduce(() => answer);
      this.#outbox.enqueue({
        awaitsRequested: false,
        next: () => ({ record: {}, digests: [], isLast: true }),
      });
    }
    if (hello.afresh) this.#restart();
  }

  /** Compares all again as if the stream had just been opened. */
  #restart(): void {
    this.#confirmations.reset();
    this.#exchanges.clear();
    this.#outbox.clearSteps();
    this.#outbox.forgetRequests();
    this.#incoming.clear();
    this.#hasWholeRound = false;
    this.#peer.restart();
    this.#greet();
  }

  #endRound(round: IncomingRound): void {
    if (round.id) {
      this.#exchanges.roundEnded(round.id, round);
      return;
    }
    this.#endComparison(round.isWhole);
    this.#plainRounds.received();
  }

  #endComparison(isWhole: boolean): void {
    this.#rounds++;
    this.#comparedMs = this.#replica.environment.monotonicMs();
    this.#hasWholeRound ||= isWhole;
    this.#confirmations.complete();
    this.#updateCaughtUp();
  }

  #updateCaughtUp(): void {
    if (this.#hasWholeRound && this.#outbox.hasAllRequested) this.#caughtUp = true;
  }

  #isCheaperToRequest(keys: string[]): boolean {
    if (!this.#confirmations.isComplete || keys.length > this.#chunkKeys) return false;
    const bytes = keys.reduce((sum, key) => sum + sizeOf(key, this.#replica.get(key)), 0);
    const roundBytes = DIGEST_BYTES * this.#replica.size;
    return bytes <= (this.#peer.kind === "capable" ? Math.min(roundBytes, EXCHANGE_BYTES) : roundBytes);
  }
}
