import type { ConnectError } from "@connectrpc/connect";
import { type Amount, type Holder, isFull } from "./bounds.js";
import type { Usage } from "./usage.js";

/** Messages up to this size do not wait for room: the limit on calls bounds them to a few MB per connection. */
const SMALL_BYTES = 16 * 1024;

/** The holders of a server, as a call knows them. */
export interface Holders {
  holderOf(subject: string): Holder;
  /** Keeps the usage of a subject while there is any. */
  track(subject: string, holder: Holder): void;
  /** Lets answers that wait for room go on. */
  resumeWaiting(): void;
  /** Resolves when there is room for an answer of `call`, or when its caller has left; rejects after `stalledMs`. */
  waitForRoom(call: CallUsage, bytes: number, signal: AbortSignal): Promise<void>;
}

/** The use that one call makes of the limits. Its bytes may outlast it: an answer is sent after its call has ended. */
export class CallUsage {
  /** The path of the method, if the call comes through a tunnel. */
  path = "";
  readonly #owner: Holders;
  readonly #holders: Holder[];
  /** Connections whose callers are unidentified are closed first when there are too many. */
  #isIdentified = false;
  #subject: string | undefined;
  #isOpen = true;
  #arrivingBytes = 0;
  #leavingBytes = 0;
  #reservedBytes = 0;

  constructor(owner: Holders, holders: Holder[], isIdentified: boolean) {
    this.#owner = owner;
    this.#holders = holders;
    for (const { usage } of holders) usage.calls++;
    if (isIdentified) this.#setIdentified(true);
  }

  /** Counts the call to its subject from now on, not to its group. Returns the refusal if the subject uses too much. */
  identify(subject: string): ConnectError | undefined {
    const holder = this.#owner.holderOf(subject);
    const { usage, bound } = holder;
    if (usage.calls >= bound.most.calls) return bound.refusal("calls");
    if (isFull(holder)) return bound.refusal("leavingBytes");
    const [group] = this.#holders.splice(-1, 1, holder);
    if (group) this.#move(group.usage, -1);
    this.#move(usage, 1);
    this.#subject = subject;
    this.#owner.track(subject, holder);
    this.#setIdentified(true);
    return undefined;
  }

  /** Ends the call. Idempotent. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const { usage } of this.#holders) usage.calls--;
    if (this.#isIdentified) this.#setIdentified(false);
    this.#unreserve();
    this.#track();
  }

  /** Counts bytes, more or fewer, received of incomplete messages. Returns the refusal if they are too many. */
  addArriving(change: number): ConnectError | undefined {
    this.#arrivingBytes += change;
    for (const { usage } of this.#holders) usage.arrivingBytes += change;
    if (!this.#isOpen) this.#track();
    if (change <= 0) return undefined;
    return this.#holders
      .find(({ usage, bound }) => usage.arrivingBytes > bound.most.arrivingBytes)
      ?.bound.refusal("arrivingBytes");
  }

  /** Counts bytes, more or fewer, of the answer that cannot be sent yet. */
  addLeaving(change: number): void {
    this.#unreserve();
    this.#countLeaving(change);
  }

  /** Resolves when a message of the answer may be encoded; undefined: at once. Throws if too much waits already. */
  waitForRoom(bytes: number, request: { readonly signal: AbortSignal }): Promise<void> | undefined {
    if (bytes <= SMALL_BYTES || !this.#isOpen) return undefined;
    if (this.hasRoom) {
      this.reserve(bytes);
      return undefined;
    }
    const { signal } = request;
    if (signal.aborted) return undefined;
    const full = this.#holders.find(
      ({ usage, bound }) => usage.waitingBytes > 0 && usage.waitingBytes + bytes > bound.most.leavingBytes,
    );
    if (full) throw full.bound.refusal("leavingBytes");
    return this.#owner.waitForRoom(this, bytes, signal);
  }

  /** Whether one more message of the answer may be encoded: the last message of each holder may exceed its bound. */
  get hasRoom(): boolean {
    const own = this.#leavingBytes;
    return this.#holders.every(({ usage, bound }) => usage.leavingBytes - own < bound.most.leavingBytes);
  }

  /** Counts bytes of a message that is about to be encoded. */
  reserve(bytes: number): void {
    this.#unreserve();
    if (!this.#isOpen) return;
    this.#reservedBytes = bytes;
    this.#countLeaving(bytes);
  }

  /** Counts bytes, more or fewer, of the answer that wait for room. */
  addWaiting(change: number): void {
    for (const { usage } of this.#holders) usage.waitingBytes += change;
  }

  /** The refusal of more by the holder that has no room. */
  refusal(amount: Amount): ConnectError {
    const full = this.#holders.find(({ usage, bound }) => usage[amount] >= bound.most[amount]);
    return (full ?? (this.#holders[0] as Holder)).bound.refusal(amount);
  }

  #countLeaving(change: number): void {
    if (change === 0) return;
    this.#leavingBytes += change;
    for (const { usage } of this.#holders) usage.leavingBytes += change;
    if (change > 0) return;
    if (!this.#isOpen) this.#track();
    this.#owner.resumeWaiting();
  }

  #unreserve(): void {
    const bytes = this.#reservedBytes;
    this.#reservedBytes = 0;
    this.#countLeaving(-bytes);
  }

  #move(usage: Usage, sign: 1 | -1): void {
    usage.calls += sign;
    usage.arrivingBytes += sign * this.#arrivingBytes;
    usage.leavingBytes += sign * this.#leavingBytes;
  }

  #setIdentified(isIdentified: boolean): void {
    this.#isIdentified = isIdentified;
    for (const { usage } of this.#holders) usage.identifiedCalls += isIdentified ? 1 : -1;
  }

  #track(): void {
    if (this.#subject !== undefined) this.#owner.track(this.#subject, this.#holders.at(-1) as Holder);
  }
}
