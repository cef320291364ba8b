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

/** The events of `topic` that `group` has not handled yet. */
export interface Subscription {
  pubsub: string;
  topic: string;
  group: string;
  /** The topic of the same pubsub for events that cannot be handled; undefined: they are dropped. */
  deadLetterTopic: string | undefined;
}

/** A consumer's answer to an event. An error counts as "retry". */
export type DeliveryVerdict = "success" | "retry" | "drop";

/** An event that is delivered to one consumer, until it is settled or the consumer ends. */
export interface EventClaim {
  readonly event: TopicEventRequest;
  /** Settles the event by the consumer's answer. `reason` goes to the dead letter only, as it may contain data. */
  settle(verdict: DeliveryVerdict, reason: string): Promise<void>;
}

/** The meaning of a response's status: a missing one is success, an unknown one is "retry". */
export function verdictOf({ status = Status.SUCCESS }: Partial<TopicEventResponse> = {}): DeliveryVerdict {
  if (status === Status.SUCCESS) return "success";
  return status === Status.DROP ? "drop" : "retry";
}

/** The most characters of a reason in a dead letter: it may come from an app. */
const REASON_CHARS = 1000;

/** The engine's name for a topic of a pubsub. */
export const topicOf = (pubsub: string, topic: string): string => `${pubsub}\0${topic}`;

/**
 * Creates the subscription's group, and the default group of its dead letter topic, so that dead letters wait for its
 * first subscriber. When it resolves, the groups get what is published through any server. Call it before claims().
 */
export async function createGroups(
  { engine: { topics }, appId }: ServiceContext,
  { pubsub, topic, group, deadLetterTopic }: Subscription,
): Promise<void> {
  if (deadLetterTopic) await topics.createGroup(topicOf(pubsub, deadLetterTopic), appId);
  await topics.createGroup(topicOf(pubsub, topic), group);
}

/**
 * Joins the subscription's group at once, until `signal` aborts. Each step of the loop claims one event. This is the
 * only place that decides what happens to an event, for all kinds of consumers:
 *
 * - success: it is removed;
 * - drop: it is removed, with a warning;
 * - retry: it is delivered again after a delay that doubles each time, within the pubsub's bounds;
 * - retry after the last delivery: it goes to the dead letter topic; without one it is dropped, with a warning;
 * - expired: it is removed without a delivery;
 * - delivered too often to consumers that left without an answer: it goes to the dead letter topic, as it may be what
 *   crashes them. Without a dead letter topic it is delivered again, as no consumer has refused it.
 *
 * Dead letters wait for the default group of the dead letter topic: see createGroups().
 */
export function claims(
  context: ServiceContext,
  subscription: Subscription,
  signal: AbortSignal,
): AsyncIterable<EventClaim> {
  const { pubsub, topic, group } = subscription;
  return claimed(context, subscription, context.engine.topics.consume(topicOf(pubsub, topic), group, signal));
}

async function* claimed(
  context: ServiceContext,
  subscription: Subscription,
  deliveries: AsyncIterable<Delivery>,
): AsyncGenerator<EventClaim, void, undefined> {
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
      await deadLetter(context, subscription, { delivery, event, reason, deliveries: attempt - 1 });
    } else {
      const settle = async (verdict: DeliveryVerdict, reason: string) => {
        if (verdict === "success") return delivery.ack();
        if (verdict === "drop") {
          log.warn(facts, "a consumer dropped an event");
          return delivery.drop();
        }
        // Read again, as the settings may have changed in the meantime.
        const { maxDeliveries, retryMinMs, retryMaxMs } = components.get("pubsub", pubsub);
        if (attempt < maxDeliveries) {
          return delivery.retry(Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(attempt - 1, 40)));
        }
        if (deadLetterTopic) {
          return deadLetter(context, subscription, { delivery, event, reason, deliveries: attempt });
        }
        log.warn(facts, "an event is dropped after its last delivery: no dead letter topic is set");
        return delivery.drop();
      };
      yield { event, settle };
    }
  }
}

/** Moves an event to the dead letter topic. It is published there before it is acknowledged here, so possibly twice. */
async function deadLetter(
  { engine, components, log }: ServiceContext,
  { pubsub, topic, group, deadLetterTopic = "" }: Subscription,
  letter: { delivery: Delivery; event: TopicEventRequest; reason: string; deliveries: number },
): Promise<void> {
  const { delivery, event, deliveries } = letter;
  const reason = letter.reason.slice(0, REASON_CHARS);
  const facts = { pubsub, topic, group, deadLetterTopic, event: event.id, deliveries };
  const deadEvent = toBinary(TopicEventRequestSchema, {
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
    await engine.topics.publish(topicOf(pubsub, deadLetterTopic), [deadEvent]);
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
