import { toBinary } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { TopicEventRequestSchema } from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import type {
  Runtime,
  SubscribeTopicEventsRequest,
  SubscribeTopicEventsRequestInitial,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { APP_ID_HEADER } from "../../rpc/extension-headers.js";
import { withCallId } from "../calls/log.js";
import { consumerGroupOf } from "../calls/request-names.js";
import { checkName } from "../calls/validate/field-rules.js";
import type { ServiceContext } from "../context.js";
import { EngineFault } from "../engine.js";
import { invalid, unavailable } from "../errors.js";
import { eventOf } from "./pubsub/cloud-event.js";
import { claims, createGroups, type Subscription, topicOf, verdictOf } from "./pubsub/delivery.js";
import { Unsettled } from "./pubsub/unsettled.js";
import { traceContext } from "./shared/trace-context.js";

type PubsubMethods = Pick<ServiceImpl<typeof Runtime>, "publishEvent" | "subscribeTopicEvents">;

/** The pub/sub RPCs: publishing, and subscriptions as a stream. delivery.ts decides what the answers to events do. */
export function pubsubService(context: ServiceContext): PubsubMethods {
  const { engine, components, limits, closing } = context;
  return {
    async publishEvent(request, { requestHeader }) {
      components.get("pubsub", request.pubsubName);
      const event = toBinary(
        TopicEventRequestSchema,
        eventOf(
          request,
          traceContext((name) => requestHeader.get(name)),
          engine.clock,
        ),
      );
      await engine.topics.publish(topicOf(request.pubsubName, request.topic), [event]);
      return {};
    },

    async *subscribeTopicEvents(requests, call) {
      const incoming = requests[Symbol.asyncIterator]();
      const initial = await firstOf(incoming);
      const subscription = subscriptionOf(initial, call.requestHeader, context);
      await createGroups(context, subscription).catch((error: unknown) => {
        throw asRetryable(error);
      });
      const ending = new AbortController();
      const signal = AbortSignal.any([call.signal, ending.signal]);
      let ended: { error?: unknown } | undefined;
      const end = (result: { error?: unknown }) => {
        ended ??= result;
        ending.abort();
      };
      const claimed = claims(withCallId(context, call), subscription, signal);
      const most = Math.min(limits.inFlight, Number(initial.metadata["maxInFlight"] ?? limits.inFlight));
      const unsettled = new Unsettled(most, signal, (error) => end({ error: asRetryable(error) }));
      takeAnswers(incoming, unsettled).then(
        () => end({}),
        (error: unknown) => end({ error }),
      );
      try {
        yield opened;
        for await (const claim of claimed) {
          await unsettled.add(claim);
          if (signal.aborted) break;
          yield eventMessage(claim.event);
          await unsettled.hasRoom();
        }
      } catch (error) {
        throw asRetryable(error);
      } finally {
        ending.abort();
      }
      closing.throwIfAborted();
      if (!ended) throw unavailable("the subscription ended: the engine is closed");
      if (ended.error) throw ended.error;
    },
  };
}

/**
 * A full disk as an engine that is unavailable: a subscriber reconnects only after that, and its events are delivered
 * again when there is room for its answers.
 */
const asRetryable = (error: unknown): unknown =>
  error instanceof EngineFault && !error.limit ? new EngineFault("unavailable", error.message) : error;

type Incoming = AsyncIterator<SubscribeTopicEventsRequest>;

const FIRST = "must be the first message, and come once";

async function firstOf(incoming: Incoming): Promise<SubscribeTopicEventsRequestInitial> {
  const { value, done } = await incoming.next();
  const request = done ? undefined : (value as SubscribeTopicEventsRequest).subscribeTopicEventsRequestType;
  if (request?.case !== "initialRequest") throw invalid("initial_request", request?.case, FIRST);
  return request.value;
}

function subscriptionOf(
  initial: SubscribeTopicEventsRequestInitial,
  header: HandlerContext["requestHeader"],
  { components, appId, limits }: ServiceContext,
): Subscription {
  const { pubsubName, topic, deadLetterTopic } = initial;
  components.get("pubsub", pubsubName);
  if (deadLetterTopic === topic) {
    throw invalid("initial_request.dead_letter_topic", topic, "must not be the topic itself");
  }
  const group = consumerGroupOf(initial, header, appId);
  checkName(APP_ID_HEADER, group, limits);
  return { pubsub: pubsubName, topic, group, deadLetterTopic: deadLetterTopic || undefined };
}

/** Settles events by the client's answers, until it ends its side and all of them are settled. */
async function takeAnswers(incoming: Incoming, unsettled: Unsettled): Promise<void> {
  for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
    const { case: kind, value } = next.value.subscribeTopicEventsRequestType;
    if (kind === "initialRequest") throw invalid("initial_request", value.topic, FIRST);
    // Unknown kinds of requests are ignored.
    if (kind === "eventProcessed") {
      unsettled.settle(value.id, verdictOf(value.status), "the subscriber asked for another delivery");
    }
  }
  await unsettled.allSettled();
}

const opened = {
  subscribeTopicEventsResponseType: { case: "initialResponse" as const, value: {} },
};

const eventMessage = <T>(event: T) => ({
  subscribeTopicEventsResponseType: { case: "eventMessage" as const, value: event },
});
