import type { ConnectError } from "@connectrpc/connect";
import { runAfter } from "../../lib/timer.js";
import type { Limits } from "../config/config.js";
import { connectionBound, type Holder, isFull, serverBound, shareBound, type UsageBound } from "./bounds.js";
import { CallUsage, type Holders } from "./call-usage.js";
import { noUsage, type Usage } from "./usage.js";

/** The group that a call counts to before its caller is known. */
export type CallGroup =
  /** It needs no credentials, or has none. */
  | "anonymous"
  /** It has credentials, which are not verified yet. */
  | "unverified"
  /** It comes from this process, or access control is off. */
  | "trusted";

/** An answer that waits for room. */
interface Waiting {
  readonly call: CallUsage;
  readonly bytes: number;
  proceed(): void;
}

/**
 * Divides the server's limits: no connection, no subject and not all calls without credentials together can use up a
 * limit, so that the others always find room.
 */
export class Shares implements Holders {
  readonly #limits: Limits;
  readonly #server: Holder;
  readonly #groups: Record<Exclude<CallGroup, "trusted">, Holder>;
  readonly #connectionBound: UsageBound;
  readonly #subjectBound: UsageBound;
  /** The subjects that have open calls, or unsent bytes. */
  readonly #subjects = new Map<string, Holder>();
  readonly #waiting = new Set<Waiting>();

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#server = { usage: noUsage(), bound: serverBound(limits) };
    const group = (): Holder => ({
      usage: noUsage(),
      bound: shareBound(limits, "anonymousSharePercent", "calls without known credentials"),
    });
    this.#groups = { anonymous: group(), unverified: group() };
    this.#subjectBound = shareBound(limits, "subjectSharePercent", "the calls of this subject");
    this.#connectionBound = connectionBound(limits);
  }

  /** Counts one more call, or returns its refusal. */
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

  track(subject: string, holder: Holder): void {
    const { calls, arrivingBytes, leavingBytes } = holder.usage;
    if (calls + arrivingBytes + leavingBytes > 0) this.#subjects.set(subject, holder);
    else this.#subjects.delete(subject);
  }

  /** Lets the answers go on, oldest first, that have room now. */
  resumeWaiting(): void {
    for (const waiting of this.#waiting) if (waiting.call.hasRoom) waiting.proceed();
  }

  waitForRoom(call: CallUsage, bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#waiting.delete(waiting);
        call.addWaiting(-bytes);
        signal.removeEventListener("abort", waiting.proceed);
        stopTimer();
      };
      const proceed = () => {
        end();
        call.reserve(bytes);
        resolve();
      };
      const waiting: Waiting = { call, bytes, proceed };
      const stopTimer = runAfter(this.#limits.stalledMs, () => {
        end();
        reject(call.refusal("leavingBytes"));
      });
      call.addWaiting(bytes);
      this.#waiting.add(waiting);
      signal.addEventListener("abort", waiting.proceed);
    });
  }
}
