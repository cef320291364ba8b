import type { ConnectError } from "@connectrpc/connect";
import { runAfter } from "../../lib/timer.js";
import type { Limits } from "../config/config.js";
import { exhausted } from "../errors.js";
import { noUsage, type Usage } from "./usage.js";

/** What a limit of the server counts, by the name of that limit. */
const LIMITS = { calls: "streams", arrivingBytes: "arrivingBytes", leavingBytes: "leavingBytes" } as const;
type Amount = keyof typeof LIMITS;

/** How much of each amount one holder may use, and the refusal of more. */
interface Bound {
  readonly most: Readonly<Record<Amount, number>>;
  refusal(amount: Amount): ConnectError;
}

/** Someone who uses a part of the limits: the server itself, a connection, a subject, or a group of calls. */
interface Holder {
  readonly usage: Usage;
  readonly bound: Bound;
}

/** Whose a call is, before its caller is known. */
export type CallGroup =
  /** Needs no credentials, or has none. */
  | "anonymous"
  /** Has credentials, which are still to be checked. */
  | "unverified"
  /** Comes from this process, or to a server that asks no one who they are. */
  | "trusted";

/** An answer that waits for room. */
interface Waiting {
  readonly call: CallUsage;
  readonly bytes: number;
  proceed(): void;
}

/**
 * Shares the server's limits out: no connection, no subject and not all calls without credentials together can take
 * all of a limit, so that the others always find room.
 */
export class Shares {
  readonly #limits: Limits;
  readonly #server: Holder;
  readonly #groups: Record<Exclude<CallGroup, "trusted">, Holder>;
  readonly #connectionBound: Bound;
  readonly #subjectBound: Bound;
  /** Those that have open calls, or bytes that are not sent. */
  readonly #subjects = new Map<string, Holder>();
  readonly #waiting = new Set<Waiting>();

  constructor(limits: Limits) {
    this.#limits = limits;
    const { streams, connectionStreams, arrivingBytes, leavingBytes } = limits;
    const total = { calls: streams, arrivingBytes, leavingBytes };
    this.#server = {
      usage: noUsage(),
      bound: { most: total, refusal: (amount) => exhausted(LIMITS[amount], total[amount], TAKEN[amount]) },
    };
    const group = (): Holder => ({
      usage: noUsage(),
      bound: shareOf(limits, "anonymousSharePercent", "calls without known credentials"),
    });
    this.#groups = { anonymous: group(), unverified: group() };
    this.#subjectBound = shareOf(limits, "subjectSharePercent", "the calls of this subject");
    const share = shareOf(limits, "connectionSharePercent", "the calls of this connection");
    this.#connectionBound = {
      most: { ...share.most, calls: Math.min(connectionStreams, share.most.calls) },
      refusal: (amount) =>
        amount === "calls" && connectionStreams <= share.most.calls
          ? exhausted("connectionStreams", connectionStreams, "as many calls of this connection are open")
          : share.refusal(amount),
    };
  }

  /** Counts one more call, or returns what stands against it. */
  open(connection: Usage | undefined, group: CallGroup): CallUsage | ConnectError {
    const holders = [this.#server];
    if (connection) holders.push({ usage: connection, bound: this.#connectionBound });
    if (group !== "trusted") holders.push(this.#groups[group]);
    for (const { usage, bound } of holders) {
      if (usage.calls >= bound.most.calls) return bound.refusal("calls");
      if (isFull({ usage, bound })) return bound.refusal("leavingBytes");
    }
    return new CallUsage(this, holders, group === "trusted");
  }

  holderOf(subject: string): Holder {
    return this.#subjects.get(subject) ?? { usage: noUsage(), bound: this.#subjectBound };
  }

  /** Keeps the usage of a subject for as long as there is any. */
  track(subject: string, holder: Holder): void {
    const { calls, arrivingBytes, leavingBytes } = holder.usage;
    if (calls + arrivingBytes + leavingBytes > 0) this.#subjects.set(subject, holder);
    else this.#subjects.delete(subject);
  }

  /** Lets the answers go on, oldest first, for which there is room now. */
  freed(): void {
    for (const waiting of this.#waiting) if (waiting.call.hasRoom) waiting.proceed();
  }

  /** Resolves when there is room for an answer, or its caller has left; rejects where there is none in time. */
  wait(call: CallUsage, bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#waiting.delete(waiting);
        call.waiting(-bytes);
        signal.removeEventListener("abort", waiting.proceed);
        callOff();
      };
      const proceed = () => {
        end();
        call.reserve(bytes);
        resolve();
      };
      const waiting: Waiting = { call, bytes, proceed };
      const callOff = runAfter(this.#limits.stalledMs, () => {
        end();
        reject(call.refusal("leavingBytes"));
      });
      call.waiting(bytes);
      this.#waiting.add(waiting);
      signal.addEventListener("abort", waiting.proceed);
    });
  }
}

/** What one call uses of the limits. Its bytes may outlast it: an answer is sent after its call has ended. */
export class CallUsage {
  /** The method that is called, where it comes through a tunnel. */
  path = "";
  readonly #shares: Shares;
  readonly #holders: Holder[];
  /** A call without credentials is the last to be missed where connections run out. */
  #isIdentified = false;
  #subject: string | undefined;
  #isOpen = true;
  #arrivingBytes = 0;
  #leavingBytes = 0;
  #reservedBytes = 0;

  constructor(shares: Shares, holders: Holder[], isIdentified: boolean) {
    this.#shares = shares;
    this.#holders = holders;
    for (const { usage } of holders) usage.calls++;
    if (isIdentified) this.#identify(1);
  }

  /** The caller is known: its share counts from now on, not that of those without credentials. */
  identified(subject: string): ConnectError | undefined {
    const holder = this.#shares.holderOf(subject);
    const { usage, bound } = holder;
    if (usage.calls >= bound.most.calls) return bound.refusal("calls");
    if (isFull(holder)) return bound.refusal("leavingBytes");
    const [before] = this.#holders.splice(-1, 1, holder);
    if (before) this.#move(before.usage, -1);
    this.#move(usage, 1);
    this.#subject = subject;
    this.#shares.track(subject, holder);
    this.#identify(1);
    return undefined;
  }

  /** The call has ended. Idempotent. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const { usage } of this.#holders) usage.calls--;
    if (this.#isIdentified) this.#identify(-1);
    this.#unreserve();
    this.#track();
  }

  /** So many bytes more, or fewer, have come of messages that are not whole yet; what stands against it. */
  addArriving(change: number): ConnectError | undefined {
    this.#arrivingBytes += change;
    for (const { usage } of this.#holders) usage.arrivingBytes += change;
    if (!this.#isOpen) this.#track();
    if (change <= 0) return undefined;
    return this.#holders
      .find(({ usage, bound }) => usage.arrivingBytes > bound.most.arrivingBytes)
      ?.bound.refusal("arrivingBytes");
  }

  /** So many bytes more, or fewer, of the answer are there that cannot be sent yet. */
  addLeaving(change: number): void {
    this.#unreserve();
    this.#addLeaving(change);
  }

  /** Resolves when a message of the answer may be encoded. Small ones need not wait: calls bound them. */
  room(bytes: number, signal: AbortSignal): Promise<void> | undefined {
    if (bytes <= SMALL_BYTES || !this.#isOpen) return undefined;
    if (this.hasRoom) {
      this.reserve(bytes);
      return undefined;
    }
    if (signal.aborted) return undefined;
    const full = this.#holders.find(
      ({ usage, bound }) => usage.waitingBytes > 0 && usage.waitingBytes + bytes > bound.most.leavingBytes,
    );
    if (full) throw full.bound.refusal("leavingBytes");
    return this.#shares.wait(this, bytes, signal);
  }

  /** Whether one more message of it may be there: each holder's last one may pass its bound. */
  get hasRoom(): boolean {
    const own = this.#leavingBytes;
    return this.#holders.every(({ usage, bound }) => usage.leavingBytes - own < bound.most.leavingBytes);
  }

  /** Counts bytes that are there in a moment. */
  reserve(bytes: number): void {
    this.#unreserve();
    if (!this.#isOpen) return;
    this.#reservedBytes = bytes;
    this.#addLeaving(bytes);
  }

  waiting(change: number): void {
    for (const { usage } of this.#holders) usage.waitingBytes += change;
  }

  /** What stands against more, of the holder that has least room. */
  refusal(amount: Amount): ConnectError {
    const full = this.#holders.find(({ usage, bound }) => usage[amount] >= bound.most[amount]);
    return (full ?? (this.#holders[0] as Holder)).bound.refusal(amount);
  }

  #addLeaving(change: number): void {
    if (change === 0) return;
    this.#leavingBytes += change;
    for (const { usage } of this.#holders) usage.leavingBytes += change;
    if (change > 0) return;
    if (!this.#isOpen) this.#track();
    this.#shares.freed();
  }

  #unreserve(): void {
    const bytes = this.#reservedBytes;
    this.#reservedBytes = 0;
    this.#addLeaving(-bytes);
  }

  #move(usage: Usage, sign: 1 | -1): void {
    usage.calls += sign;
    usage.arrivingBytes += sign * this.#arrivingBytes;
    usage.leavingBytes += sign * this.#leavingBytes;
  }

  #identify(change: 1 | -1): void {
    this.#isIdentified = change > 0;
    for (const { usage } of this.#holders) usage.identifiedCalls += change;
  }

  #track(): void {
    if (this.#subject !== undefined) this.#shares.track(this.#subject, this.#holders.at(-1) as Holder);
  }
}

/** Messages that need not wait: on all calls of a connection together they are a few MB. */
const SMALL_BYTES = 16 * 1024;

const TAKEN: Record<Amount, string> = {
  calls: "as many calls of this server are open",
  arrivingBytes: "so much has arrived of messages that are not whole",
  leavingBytes: "so much waits of answers that nobody reads",
};

const isFull = ({ usage, bound }: Holder): boolean => usage.leavingBytes >= bound.most.leavingBytes;

/** A part of each limit: of calls at least one, and of bytes as many as one message may have. */
function shareOf(
  limits: Limits,
  name: "connectionSharePercent" | "subjectSharePercent" | "anonymousSharePercent",
  whose: string,
): Bound {
  const part = (limit: keyof typeof WORDS, least: number) =>
    Math.max(Math.floor((limits[limit] * limits[name]) / 100), Math.min(least, limits[limit]));
  const most = {
    calls: part("streams", 1),
    arrivingBytes: part("arrivingBytes", limits.messageBytes),
    leavingBytes: part("leavingBytes", limits.messageBytes),
  };
  const refusal = (amount: Amount) =>
    exhausted(
      name,
      limits[name],
      `${whose} have taken their share of ${LIMITS[amount]} ${limits[LIMITS[amount]]}: ${most[amount]} ${WORDS[LIMITS[amount]]}`,
    );
  return { most, refusal };
}

/** How the log tells of a call whose caller takes nothing. */
export const givenUp = ({ stalledMs }: Limits): string =>
  `an answer was given up: nothing of it was taken for ${stalledMs} ms`;

const WORDS = { streams: "calls", arrivingBytes: "bytes", leavingBytes: "bytes" };
