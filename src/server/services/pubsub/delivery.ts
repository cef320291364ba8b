import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  TopicEventResponse_TopicEventResponseStatus as Status,
  type TopicEventRequest,
  TopicEventRequestSchema,
  type TopicEventResponse,
} from "../../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import type { ServiceContext } from "../../context.js";
import { type Delivery, EngineFault } from "../../engine.js";
import { isExpired } from "./cloud-event.js";

/** Whose events: those of `topic` that `group` has not handled yet. */
export interface Subscription {
  pubsub: string;
  topic: string;
  group: string;
  /** The topic of the same pubsub that takes what cannot be handled; undefined: that is dropped. */
  deadLetterTopic: string | undefined;
}

/** What a consumer says of an event; an error counts as "retry". */
export type Verdict = "success" | "retry" | "drop";

/** An event that is in the hands of one consumer, until it is settled or the consumer ends. */
export interface Claim {
  readonly event: TopicEventRequest;
  /** Does what follows from the consumer's answer; `reason` is for the dead letter, not for the log: an app may quote data. */
  settle(verdict: Verdict, reason: string): Promise<void>;
}

/** What an answer means: nothing said is success, a number that is not known is no success. */
export function verdictOf({ status = Status.SUCCESS }: Partial<TopicEventResponse> = {}): Verdict {
  if (status === Status.SUCCESS) return "success";
  return status === Status.DROP ? "drop" : "retry";
}

/** How much of a reason, which may come from an app, a dead letter keeps. */
const REASON_CHARS = 1000;

/** The engine's name for a topic of a pubsub. */
export const topicOf = (pubsub: string, topic: string): string => `${pubsub}\0${topic}`;

/**
 * Joins the subscription's group, at once, until `signal` aborts; each step of the loop claims one event. This is the
 * one place that decides what becomes of an event, whoever its consumer is:
 *
 * - handled, it is gone; dropped as well, with a warning;
 * - not handled, it comes again after a delay that doubles each time, within the pubsub's bounds;
 * - not handled for the last time, it goes to the dead letter topic, or is dropped with a warning where none is set;
 * - expired, it is gone without being seen;
 * - delivered too often to consumers that went away without an answer, it goes to the dead letter topic, for it may be
 *   the reason that they went; but it is never dropped for that, as no one has said that it cannot be handled.
 *
 * Dead letters wait for the group that a subscription without a name has, also before its first subscriber comes.
 */
export function claims(
  context: ServiceContext,
  subscription: Subscription,
  signal: AbortSignal,
): AsyncIterable<Claim> {
  const { pubsub, topic, group, deadLetterTopic } = subscription;
  const { topics } = context.engine;
  if (deadLetterTopic) {
    // Begins the group that a subscriber of the dead letters has by default, so that they wait for the first one.
    topics.consume(topicOf(pubsub, deadLetterTopic), context.appId, AbortSignal.abort());
  }
  return claimed(context, subscription, topics.consume(topicOf(pubsub, topic), group, signal));
}

async function* claimed(
  context: ServiceContext,
  subscription: Subscription,
  deliveries: AsyncIterable<Delivery>,
): AsyncGenerator<Claim, void, undefined> {
  const { components, engine, log } = context;
  const { pubsub, topic, group, deadLetterTopic } = subscription;
  for await (const delivery of deliveries) {
    const { attempt } = delivery;
    const event = fromBinary(TopicEventRequestSchema, delivery.value);
    const { maxDeliveries } = components.get("pubsub", pubsub);
    const facts = { pubsub, topic, group, event: event.id, deliveries: attempt };
    if (isExpired(event, engine.clock)) {
      log.debug(facts, "an event expired before it was delivered");
      await delivery.ack();
    } else if (attempt > maxDeliveries && deadLetterTopic) {
      const reason = `delivered ${attempt - 1} times, and then never settled`;
      await bury(context, subscription, { delivery, event, reason, deliveries: attempt - 1 });
    } else {
      const settle = async (verdict: Verdict, reason: string) => {
        if (verdict === "success") return delivery.ack();
        if (verdict === "drop") {
          log.warn(facts, "a consumer dropped an event");
          return delivery.drop();
        }
        // As it is now: the settings may have changed meanwhile.
        const { maxDeliveries, retryMinMs, retryMaxMs } = components.get("pubsub", pubsub);
        if (attempt < maxDeliveries) {
          return delivery.retry(Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(attempt - 1, 40)));
        }
        if (deadLetterTopic) {
          return bury(context, subscription, { delivery, event, reason, deliveries: attempt });
        }
        log.warn(facts, "an event is dropped after its last delivery: no dead letter topic is set");
        return delivery.drop();
      };
      yield { event, settle };
    }
  }
}

/** Moves an event to the dead letter topic: it is there before it is gone here, so it may come to be there twice. */
async function bury(
  { engine, components, log }: ServiceContext,
  { pubsub, topic, group, deadLetterTopic = "" }: Subscription,
  letter: { delivery: Delivery; event: TopicEventRequest; reason: string; deliveries: number },
): Promise<void> {
  const { delivery, event, deliveries } = letter;
  const reason = letter.reason.slice(0, REASON_CHARS);
  const facts = { pubsub, topic, group, deadLetterTopic, event: event.id, deliveries };
  const dead = toBinary(TopicEventRequestSchema, {
    ...event,
    topic: deadLetterTopic,
    metadata: {
      ...event.metadata,
      deadLetterReason: reason,
      deadLetterFrom: topic,
      deadLetterGroup: group,
      deliveries: String(deliveries),
    },
  });
  try {
    await engine.topics.publish(topicOf(pubsub, deadLetterTopic), [dead]);
  } catch (error) {
    if (!(error instanceof EngineFault)) throw error;
    log.error(
      { ...facts, err: error },
      "the dead letter topic does not take an event: it is delivered again",
    );
    return delivery.retry(components.get("pubsub", pubsub).retryMaxMs);
  }
  log.warn(facts, "an event went to the dead letter topic");
  await delivery.ack();
}
