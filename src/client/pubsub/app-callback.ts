import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import {
  AppCallback,
  TopicEventResponse_TopicEventResponseStatus as Status,
} from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { bearer, sameBytes } from "../../rpc/bearer-token.js";
import type { Coding } from "../codec.js";
import { type TopicEvent, topicEvent } from "./event.js";

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

/** The handlers of an app, by topic. */
export type EventHandlers<T> = { [Topic in keyof T]: EventHandler<T[Topic]> | EventSubscription<T[Topic]> };

/** How an app takes the runtime's calls. */
export interface CallbackOptions {
  /** The pubsub component of the handlers that name none. Default: "default". */
  pubsub?: string;
  /** The bearer token that the runtime must call with, as its configuration has it for this app. Default: none. */
  token?: string;
  /** Told what a handler threw, and of events that no handler is there for. Default: the runtime is told, no one else. */
  onError?: (error: unknown, event: TopicEvent) => void;
}

/**
 * Serves AppCallback: tells the runtime which topics the app wants, and handles their events. The routes fit every
 * Connect adapter; on Node, serveCallbacks() puts them on a port.
 */
export function createCallbacks<T extends Record<string, unknown>>(
  handlers: EventHandlers<T>,
  options: CallbackOptions = {},
): (router: ConnectRouter) => void {
  checkOptions("Cannot serve callbacks", options, { pubsub: "string", token: "string", onError: "function" });
  checkType("Cannot serve callbacks", "handlers", "object", handlers);
  const { pubsub: defaultPubsub = "default", token, onError } = options;
  const wanted = Object.entries(handlers).map(([name, entry]) => {
    // What T is, each handler knows for itself.
    const given = (typeof entry === "function" ? { handler: entry } : entry) as EventSubscription;
    const what = `Cannot handle events of ${quote(name)}`;
    checkOptions(what, given, SUBSCRIPTION);
    checkType(what, "handler", "function", given.handler);
    const wish = { topic: name, pubsub: defaultPubsub, ...given };
    for (const text of [wish.topic, wish.pubsub, wish.group, wish.deadLetterTopic]) {
      if (text !== undefined) checkedName(what, text);
    }
    return wish;
  });
  const find = (pubsub: string, topic: string) =>
    wanted.find((each) => each.pubsub === pubsub && each.topic === topic);

  const expected = token === undefined ? undefined : utf8(bearer(token));
  const checkCaller = (header: Headers) => {
    if (!expected || sameBytes(expected, utf8(header.get("authorization") ?? ""))) return;
    throw new ConnectError(
      "this app takes calls of its own runtime only, with its token",
      Code.Unauthenticated,
    );
  };

  return (router) => {
    router.service(AppCallback, {
      listTopicSubscriptions(_, { requestHeader }) {
        checkCaller(requestHeader);
        const subscriptions = wanted.map(({ pubsub, topic, group, deadLetterTopic, metadata }) => ({
          pubsubName: pubsub,
          topic,
          metadata: {
            ...metadata,
            ...(group !== undefined && { consumerGroup: group }),
            ...(deadLetterTopic !== undefined && { deadLetterTopic }),
          },
        }));
        return { subscriptions };
      },

      async onTopicEvent(wire, { requestHeader, signal }) {
        checkCaller(requestHeader);
        const entry = find(wire.pubsubName, wire.topic);
        const event = topicEvent(wire, entry ?? {});
        try {
          if (!entry) throw new Error(`no handler for topic "${wire.topic}" of pubsub "${wire.pubsubName}"`);
          return { status: statusOf(await entry.handler(event, { signal })) };
        } catch (error) {
          onError?.(error, event);
          // Always the same code: one of the handler's own, as `unavailable`, would say something about this app.
          const reason = error instanceof Error ? error.message : String(error);
          throw new ConnectError(reason, Code.Internal, undefined, undefined, error);
        }
      },
    });
  };
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const SUBSCRIPTION = {
  topic: "string",
  pubsub: "string",
  group: "string",
  deadLetterTopic: "string",
  metadata: "texts",
} as const;

const STATUS = { success: Status.SUCCESS, retry: Status.RETRY, drop: Status.DROP } as const;

function statusOf(verdict: unknown = "success"): Status {
  const status = Object.hasOwn(STATUS, String(verdict)) ? STATUS[verdict as Verdict] : undefined;
  if (status !== undefined) return status;
  throw new TypeError(`a handler must return "success", "retry", "drop" or nothing, got ${String(verdict)}`);
}
