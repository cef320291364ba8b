import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { AppCallback } from "../../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { delay } from "../../../lib/timer.js";
import type { ServiceContext } from "../../context.js";
import { traceContext } from "../shared/trace-context.js";
import { type Claim, claims, type Subscription, verdictOf } from "./delivery.js";
import { Unsettled } from "./unsettled.js";

/** An application that serves AppCallback, and how it is treated. */
export interface App {
  readonly name: string;
  readonly client: Client<typeof AppCallback>;
  /** Asks it what it wants. */
  ask(signal: AbortSignal): Promise<Subscription[]>;
  /** How often it is asked again, in milliseconds. */
  readonly askEveryMs: number;
  /** How long it may take to handle one event, in milliseconds. */
  readonly timeoutMs: number;
}

/** How a visit ended: the app "left", it has "changed" what it wants; or the signal has aborted. */
export type Visited = {
  end: "left" | "changed" | "aborted";
  /** Whether it answered any event, or stayed for so long that it cannot be called flapping. */
  worked: boolean;
};

/** How long a visit has to be to count as one that worked, in milliseconds. */
const LONG_MS = 60_000;

/**
 * Delivers the events of `subscriptions` to the app for as long as it is there and wants the same. When it ends, the
 * calls under way may finish; what they did not settle goes back to where it waited, and is no failure of the event.
 */
export async function runAppSession(
  context: ServiceContext,
  app: App,
  subscriptions: Subscription[],
  signal: AbortSignal,
): Promise<Visited> {
  const since = performance.now();
  const leaving = new AbortController();
  const over = new AbortController();
  const held = AbortSignal.any([signal, over.signal]);
  const taking = AbortSignal.any([signal, leaving.signal]);
  const underWay = new Set<Promise<void>>();
  let end: Visited["end"] = "aborted";
  let answered = false;

  const leave = (why: "left" | "changed") => {
    if (taking.aborted) return;
    end = why;
    leaving.abort();
  };
  const fail = (error: unknown) => {
    if (!taking.aborted) context.log.error({ app: app.name, err: error }, "events cannot be delivered");
    leave("left");
  };

  const deliver = async ({ event }: Claim, unsettled: Unsettled) => {
    try {
      const answer = await app.client.onTopicEvent(event, {
        signal: held,
        timeoutMs: app.timeoutMs,
        headers: traceContext((name) => event.metadata[name]),
      });
      answered = true;
      unsettled.answer(event.id, verdictOf(answer), "the app asked for another delivery");
    } catch (error) {
      if (held.aborted) return;
      if (hasLeft(error)) return leave("left");
      answered = true;
      unsettled.answer(event.id, "retry", `the app failed: ${messageOf(error)}`);
    }
    await unsettled.answersSettled();
  };

  const consume = async (subscription: Subscription) => {
    const unsettled = new Unsettled(context.limits.inFlight, held, fail);
    for await (const claim of claims(context, subscription, held)) {
      await unsettled.add(claim);
      // What is claimed too late is held unsent: leaving the loop would give back what is under way as well.
      if (taking.aborted) {
        await aborted(held);
        return;
      }
      const call = deliver(claim, unsettled).finally(() => underWay.delete(call));
      underWay.add(call);
      await unsettled.room();
    }
    leave("left");
  };

  const wanted = JSON.stringify(subscriptions);
  const askAgain = async () => {
    for (;;) {
      await delay(app.askEveryMs, taking);
      if (taking.aborted) return;
      const now = await app.ask(taking).catch((error: unknown) => {
        // An error of another kind is a sign of life.
        if (hasLeft(error) || isSilent(error)) leave("left");
      });
      if (now && JSON.stringify(now) !== wanted) leave("changed");
    }
  };

  const consumers = subscriptions.map((subscription) => consume(subscription).catch(fail));
  void askAgain();
  await aborted(taking);
  await Promise.all(underWay);
  over.abort();
  await Promise.all(consumers);
  return { end, worked: answered || performance.now() - since > LONG_MS };
}

const hasLeft = (error: unknown): boolean => error instanceof ConnectError && error.code === Code.Unavailable;

const isSilent = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.DeadlineExceeded;

const messageOf = (error: unknown): string =>
  error instanceof ConnectError ? error.rawMessage : String(error);

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
