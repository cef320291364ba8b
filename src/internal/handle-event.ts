import { Code, ConnectError } from "@connectrpc/connect";
import {
  TopicEventResponse_TopicEventResponseStatus as Status,
  type TopicEventRequest,
} from "../../gen/runtime/pubsub/spec/proto/runtime/v1/appcallback_pb.js";
import type { Coding } from "../codec.js";
import { sameBytes } from "./bearer.js";
import { type TopicEvent, topicEvent } from "./topic-event.js";
import { utf8 } from "./utf8.js";

/** What becomes of an event: it is handled, comes again after a growing delay, or is dropped with a warning. */
export type Verdict = "success" | "retry" | "drop";

/**
 * Handles one event. Nothing returned means "success"; a throw means "retry", with the error's message as the reason.
 * `signal` aborts when the runtime does not wait for the answer any more: the event comes again.
 */
export type EventHandler<T = unknown> = (
  event: TopicEvent<T>,
  call: { signal: AbortSignal },
  // biome-ignore lint/suspicious/noConfusingVoidType: of a function that returns nothing
) => Verdict | void | Promise<Verdict | void>;

/** A handler, and how its events come. */
export type EventSubscription<T = unknown> = Coding<T> & {
  /** Takes each event, and says what becomes of it. */
  handler: EventHandler<T>;
  /** Default: the name under which it stands in the table. */
  topic?: string;
  /** The pubsub component. Default: that of the options. */
  pubsub?: string;
  /** The consumer group: its members share the events. Default: the name that the runtime has for this app. */
  group?: string;
  /** The topic that takes the events that were delivered in vain too often. Default: such an event is dropped. */
  deadLetterTopic?: string;
  /** Further options for the runtime. */
  metadata?: Record<string, string>;
};

/** What an app wants to be told of, and by whom. */
interface App {
  wanted: readonly (EventSubscription & { topic: string; pubsub: string })[];
  /** The header that the runtime must call with; undefined: any. */
  authorization: string | undefined;
  onError: ((error: unknown, event: TopicEvent) => void) | undefined;
}

/** The topics that the runtime is to tell of. */
export function wantedTopics(app: App, header: Headers) {
  checkCaller(app, header);
  const subscriptions = app.wanted.map(({ pubsub, topic, group, deadLetterTopic, metadata }) => ({
    pubsubName: pubsub,
    topic,
    metadata: {
      ...metadata,
      ...(group !== undefined && { consumerGroup: group }),
      ...(deadLetterTopic !== undefined && { deadLetterTopic }),
    },
  }));
  return { subscriptions };
}

/** Hands one event to the handler of its topic, if there is one. */
export async function handleEvent(
  app: App,
  wire: TopicEventRequest,
  { requestHeader, signal }: { requestHeader: Headers; signal: AbortSignal },
): Promise<{ status: Status }> {
  checkCaller(app, requestHeader);
  const entry = app.wanted.find(({ pubsub, topic }) => pubsub === wire.pubsubName && topic === wire.topic);
  const event = topicEvent(wire, entry ?? {});
  try {
    if (!entry) throw new Error(`no handler for topic "${wire.topic}" of pubsub "${wire.pubsubName}"`);
    return { status: statusOf(await entry.handler(event, { signal })) };
  } catch (error) {
    app.onError?.(error, event);
    // Always the same code: one of the handler's own, as `unavailable`, would say something about this app.
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConnectError(reason, Code.Internal, undefined, undefined, error);
  }
}

function checkCaller({ authorization }: App, header: Headers): void {
  if (!authorization || sameBytes(utf8(authorization), utf8(header.get("authorization") ?? ""))) return;
  throw new ConnectError(
    "this app takes calls of its own runtime only, with its token",
    Code.Unauthenticated,
  );
}

const STATUS = { success: Status.SUCCESS, retry: Status.RETRY, drop: Status.DROP } as const;

function statusOf(verdict: unknown = "success"): Status {
  const status = Object.hasOwn(STATUS, String(verdict)) ? STATUS[verdict as Verdict] : undefined;
  if (status !== undefined) return status;
  throw new TypeError(`a handler must return "success", "retry", "drop" or nothing, got ${String(verdict)}`);
}
