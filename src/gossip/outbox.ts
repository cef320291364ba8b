import { create } from "@bufbuild/protobuf";
import {
  AntiEntropyAdvertisementSchema,
  type Digest,
  type MapValue,
  type Message,
  MessageSchema,
  UpdateRequestSchema,
  UpdateSchema,
} from "../../gen/atomix/map/map_pb.js";
import { sizeOf } from "./replica.js";
import { encodeReserved, type MemberHello, RESERVED_KEY, type ReservedRecord } from "./reserved-key.js";
import type { LinkedReplica } from "./restricted-replica.js";

/** So many changes are sent without waiting for more. */
const BATCH_ENTRIES = 100;

/** The limits of one update and of one request. A single larger entry is an update of its own. */
const MESSAGE_ENTRIES = 1000;
const MESSAGE_BYTES = 1024 ** 2 - 1024;

/** The most bytes of an entry in an update besides its key, value and timestamp. */
const ENTRY_OVERHEAD_BYTES = 24;

/** How many keys may be requested at a time; more if the replica has more. The next comparison requests the others. */
const REQUESTED_KEYS = 10_000;

export interface OutboxOptions {
  /** The id of this member. */
  source: string;
  target: { namespace: string; name: string };
  /** How long a change waits for further changes, in milliseconds. */
  flushMs: number;
  /** How long to wait for the next requested entry, in milliseconds. */
  requestTimeoutMs: number;
  /** Called when there is more to send, or when something is due earlier. */
  wake: () => void;
}

/** Advertisements that wait to be sent: a round, or one record. */
export interface OutboxStep {
  /** Whether it waits for the requested entries, so that the peer does not see them as missing. */
  awaitsRequested: boolean;
  /** The content of the next advertisement, as late as possible; undefined if there is nothing to send any more. */
  next(): StepContent | undefined;
}

export interface StepContent {
  record?: ReservedRecord | undefined;
  digests: [key: string, digest: Digest][];
  /** Whether the step is done. */
  isLast: boolean;
}

/**
 * The outgoing messages of one map to one peer. Pending entries are kept as keys and looked up when they are sent, so a
 * slow peer needs little memory, and gets only the newest entries.
 */
export class Outbox {
  readonly #replica: LinkedReplica;
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
  /** The pending steps, and how many of `#outgoing` are sent before the next advertisement of each. */
  readonly #steps = new Map<OutboxStep, { entriesAhead: number }>();
  /** The step that has sent a part. */
  #current: OutboxStep | undefined;
  /** What the next record says of this side, besides its own content. */
  #hello: (() => MemberHello) | undefined;

  constructor(replica: LinkedReplica, options: OutboxOptions) {
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

  /** Whether advertisements or requested entries are on their way. */
  get isBusy(): boolean {
    const nowMs = this.#replica.environment.monotonicMs();
    return this.#steps.size > 0 || (!this.hasAllRequested && !this.#isRequestExpired(nowMs));
  }

  /** When next() has something to send, by the monotonic clock; Infinity if there is nothing. */
  get dueMs(): number {
    if (this.#toRequest.size > 0 || this.#toConfirm.size > 0) return 0;
    if (this.#outgoing.size >= BATCH_ENTRIES) return 0;
    if (this.#steps.size === 0) return this.#outgoingDueMs;
    const isReady = this.#readyStep(false) !== undefined;
    return isReady ? 0 : Math.min(this.#outgoingDueMs, this.#requestExpiresMs);
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
    if (this.#toRequest.size + this.#requested.size >= Math.max(REQUESTED_KEYS, this.#replica.size))
      return false;
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
      this.#extendRequests();
      if (this.#steps.size > 0 && this.#requested.size === 0) this.#options.wake();
    }
    return this.#confirming.delete(key);
  }

  /** Forgets the requested entries that did not arrive. The next comparison requests them again. */
  forgetRequests(): void {
    this.#requested.clear();
    this.#confirming.clear();
  }

  /** Sends `step` after the entries that are pending now, so that the peer does not request these. */
  enqueue(step: OutboxStep): void {
    this.#steps.set(step, { entriesAhead: this.#outgoing.size });
    if (step.awaitsRequested) this.#extendRequests();
    this.#options.wake();
  }

  /** Drops what remains of `step`. */
  drop(step: OutboxStep): void {
    this.#steps.delete(step);
    if (this.#current === step) this.#current = undefined;
  }

  /** Drops the steps that have not been sent. */
  clearSteps(): void {
    this.#steps.clear();
    this.#current = undefined;
  }

  /** Adds `hello` to the next record that is sent. */
  introduce(hello: () => MemberHello): void {
    this.#hello = hello;
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
    const isExpired = this.#isRequestExpired(nowMs);
    for (let step = this.#readyStep(isExpired); step; step = this.#readyStep(isExpired)) {
      const message = this.#nextOf(step);
      if (message) return message;
    }
    const due = this.#outgoingDueMs <= nowMs || this.#outgoing.size >= BATCH_ENTRIES;
    return due ? this.#update() : undefined;
  }

  #isRequestExpired(nowMs: number): boolean {
    return nowMs >= this.#requestExpiresMs;
  }

  #extendRequests(): void {
    this.#requestExpiresMs = this.#replica.environment.monotonicMs() + this.#options.requestTimeoutMs;
  }

  /** The step that is sent next: parts of two rounds never mix. */
  #readyStep(isRequestExpired: boolean): OutboxStep | undefined {
    if (this.#current) return this.#current;
    const isWaiting = this.#requested.size > 0 && !isRequestExpired;
    for (const step of this.#steps.keys()) if (!(step.awaitsRequested && isWaiting)) return step;
    return undefined;
  }

  /** The next message of `step`, or of the entries before it. Removes the step if it is done. */
  #nextOf(step: OutboxStep): Message | undefined {
    const pending = this.#steps.get(step);
    const update = pending && pending.entriesAhead > 0 && this.#update();
    if (update) return update;
    const content = step.next();
    if (pending && content && !content.isLast) {
      this.#current = step;
      // Only the entries that are pending now are sent before the next part, so that steady changes do not block it.
      pending.entriesAhead = this.#outgoing.size;
    } else {
      this.#current = undefined;
      this.#steps.delete(step);
    }
    return content && this.#advertisement(content);
  }

  #requestFor(keys: Set<string>, requested: Set<string>): Message {
    const request = create(UpdateRequestSchema, { timestamp: this.#replica.clock.read() });
    for (const key of keys) {
      if (request.keys.length >= MESSAGE_ENTRIES) break;
      keys.delete(key);
      requested.add(key);
      request.keys.push(key);
    }
    this.#extendRequests();
    return this.#message({ case: "updateRequest", value: request });
  }

  #update(): Message | undefined {
    const entries: [key: string, value: MapValue][] = [];
    let bytes = 0;
    for (const key of this.#outgoing) {
      const value = this.#replica.get(key);
      const size = sizeOf(key, value) + (value?.digest?.timestamp.length ?? 0) + ENTRY_OVERHEAD_BYTES;
      const isFull = entries.length >= MESSAGE_ENTRIES || bytes + size > MESSAGE_BYTES;
      if (isFull && entries.length > 0) break;
      this.#outgoing.delete(key);
      this.#entriesBeforeConfirm--;
      for (const step of this.#steps.values()) step.entriesAhead--;
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

  #advertisement({ record, digests }: StepContent): Message {
    const value = create(AntiEntropyAdvertisementSchema, { timestamp: this.#replica.clock.read() });
    value.digest = Object.fromEntries(digests);
    if (record) {
      const hello = this.#hello?.();
      this.#hello = undefined;
      value.digest[RESERVED_KEY] = encodeReserved(hello ? { ...record, hello } : record);
    }
    return this.#message({ case: "antiEntropyAdvertisement", value });
  }

  #message(message: Message["message"]): Message {
    const { source, target } = this.#options;
    return create(MessageSchema, { source, target, message });
  }
}
