import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AppCallback } from "../../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { delay } from "../../../lib/timer.js";
import type { ServiceContext } from "../../context.js";
import { traceContext } from "../shared/trace-context.js";
import { claims, type EventClaim, type Subscription, verdictOf } from "./delivery.js";
import { Unsettled } from "./unsettled.js";

/** An application that serves AppCallback, and the settings of its calls. */
export interface App {
  readonly name: string;
  readonly client: Client<typeof AppCallback>;
  /** Asks the app for its subscriptions. */
  listSubscriptions(signal: AbortSignal): Promise<Subscription[]>;
  /** How often the app is asked for its subscriptions, in milliseconds. */
  readonly askEveryMs: number;
  /** How long the app may take to handle one event, in milliseconds. */
  readonly timeoutMs: number;
}

/** How a session ended: the app left, or it changed its subscriptions, or the signal aborted. */
export type SessionResult = {
  end: "left" | "changed" | "aborted";
  /** Whether the app answered any event, or stayed long enough: then the next session begins without a backoff. */
  hasWorked: boolean;
};

/** A session of this length counts as one that worked, in milliseconds. */
const LONG_MS = 60_000;

/**
 * Delivers the events of `subscriptions` to the app while it is connected and its subscriptions do not change. At the
 * end, calls under way may finish. Events that they did not settle go back to their groups, without a failed attempt.
 */
export async function runAppSession(
  context: ServiceContext,
  app: App,
  subscriptions: Subscription[],
  signal: AbortSignal,
): Promise<SessionResult> {
  return new AppSession(context, app, signal).run(subscriptions);
}

class AppSession {
  readonly #context: ServiceContext;
  readonly #app: App;
  /** Ends the delivery of further events. */
  readonly #leave = new AbortController();
  readonly #leaving: AbortSignal;
  /** Releases the claimed events and cancels calls, after calls under way have finished. */
  readonly #release = new AbortController();
  readonly #released: AbortSignal;
  readonly #calls = new Set<Promise<void>>();
  #end: SessionResult["end"] = "aborted";
  #hasAnswered = false;

  constructor(context: ServiceContext, app: App, signal: AbortSignal) {
    this.#context = context;
    this.#app = app;
    this.#leaving = AbortSignal.any([signal, this.#leave.signal]);
    this.#released = AbortSignal.any([signal, this.#release.signal]);
  }

  async run(subscriptions: Subscription[]): Promise<SessionResult> {
    const startMs = performance.now();
    const consumers = subscriptions.map((subscription) =>
      this.#consume(subscription).catch((error: unknown) => this.#fail(error)),
    );
    void this.#watchSubscriptions(JSON.stringify(subscriptions));
    await aborted(this.#leaving);
    await Promise.all(this.#calls);
    this.#release.abort();
    await Promise.all(consumers);
    return { end: this.#end, hasWorked: this.#hasAnswered || performance.now() - startMs > LONG_MS };
  }

  #endAs(end: "left" | "changed"): void {
    if (this.#leaving.aborted) return;
    this.#end = end;
    this.#leave.abort();
  }

  #fail(error: unknown): void {
    if (!this.#leaving.aborted) {
      this.#context.log.error({ app: this.#app.name, err: error }, "events cannot be delivered");
    }
    this.#endAs("left");
  }

  async #consume(subscription: Subscription): Promise<void> {
    const unsettled = new Unsettled(this.#context.limits.inFlight, this.#released, (error) =>
      this.#fail(error),
    );
    for await (const claim of claims(this.#context, subscription, this.#released)) {
      await unsettled.add(claim);
      // An event that is claimed too late is not sent. Leaving the loop would also release the events under way.
      if (this.#leaving.aborted) {
        await aborted(this.#released);
        return;
      }
      const call = this.#deliver(claim, unsettled).finally(() => this.#calls.delete(call));
      this.#calls.add(call);
      await unsettled.hasRoom();
    }
    this.#endAs("left");
  }

  async #deliver({ event }: EventClaim, unsettled: Unsettled): Promise<void> {
    try {
      const answer = await this.#app.client.onTopicEvent(event, {
        signal: this.#released,
        timeoutMs: this.#app.timeoutMs,
        headers: traceContext((name) => event.metadata[name]),
      });
      this.#hasAnswered = true;
      unsettled.settle(event.id, verdictOf(answer), "the app asked for another delivery");
    } catch (error) {
      if (this.#released.aborted) return;
      if (hasLeft(error)) return this.#endAs("left");
      this.#hasAnswered = true;
      unsettled.settle(event.id, "retry", `the app failed: ${messageOf(error)}`);
    }
    await unsettled.allSettled();
  }

  /** Asks the app for its subscriptions at intervals, and ends the session if they differ from `current`. */
  async #watchSubscriptions(current: string): Promise<void> {
    for (;;) {
      await delay(this.#app.askEveryMs, this.#leaving);
      if (this.#leaving.aborted) return;
      const now = await this.#app.listSubscriptions(this.#leaving).catch((error: unknown) => {
        // Any other error shows that the app is connected.
        if (hasLeft(error) || isTimeout(error)) this.#endAs("left");
      });
      if (now && JSON.stringify(now) !== current) this.#endAs("changed");
    }
  }
}

const hasLeft = (error: unknown): boolean => error instanceof ConnectError && error.code === Code.Unavailable;

const isTimeout = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.DeadlineExceeded;

const messageOf = (error: unknown): string =>
  error instanceof ConnectError ? error.rawMessage : String(error);

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
