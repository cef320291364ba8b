import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import {
  AppCallback,
  TopicEventResponse_TopicEventResponseStatus as WireStatus,
} from "../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { checkedName, checkOptions, checkType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { utf8 } from "../../lib/utf8.js";
import { bearer, sameBytes } from "../../rpc/bearer-token.js";
import { messageOf } from "../errors/unreadable.js";
import type { CallbackOptions, EventHandlers, EventStatus, EventSubscription } from "../pubsub.js";
import { topicEvent } from "./event.js";

/**
 * Routes that serve AppCallback: they tell the runtime which topics the app subscribes to, and handle their events.
 * They fit every Connect adapter; on Node, serveCallbacks() serves them on a port.
 *
 * @example
 * ```ts
 * import { createCallbacks } from "fairlead/app";
 * import { createTunnelTransport } from "fairlead/node";
 *
 * const transport = createTunnelTransport("http://localhost:34904", { appId: "billing" });
 * const serving = transport.serve(createCallbacks({ orders: (event) => (event.data ? "success" : "drop") }));
 * await serving.ready; // events of "orders" reach the handler now
 * await transport.close();
 * ```
 */
export function createCallbacks<T extends Record<string, unknown>>(
  handlers: EventHandlers<T>,
  options: CallbackOptions = {},
): (router: ConnectRouter) => void {
  checkOptions("Cannot serve callbacks", options, { pubsub: "string", token: "string", onError: "function" });
  checkType("Cannot serve callbacks", "handlers", "object", handlers);
  const { pubsub = "default", token, onError } = options;
  const subscriptions = subscriptionsOf(handlers, pubsub);
  const checkCaller = callerCheck(token);
  return (router) => {
    router.service(AppCallback, {
      listTopicSubscriptions(_, { requestHeader }) {
        checkCaller(requestHeader);
        return { subscriptions: subscriptions.map(wireSubscription) };
      },

      async onTopicEvent(wire, { requestHeader, signal }) {
        checkCaller(requestHeader);
        const { pubsubName, topic } = wire;
        const subscription = subscriptions.find((each) => each.pubsub === pubsubName && each.topic === topic);
        const event = topicEvent(wire, subscription ?? {});
        try {
          if (!subscription) throw new Error(`no handler for topic "${topic}" of pubsub "${pubsubName}"`);
          return { status: wireStatus(await subscription.handler(event, { signal })) };
        } catch (error) {
          onError?.(error, event);
          // Always the same code: the handler's own, such as `unavailable`, would be taken for the state of this app.
          throw new ConnectError(messageOf(error), Code.Internal, undefined, undefined, error);
        }
      },
    });
  };
}

/** A subscription with the topic and the pubsub component that it has by default. */
type CompleteSubscription = EventSubscription & { topic: string; pubsub: string };

function subscriptionsOf(handlers: object, defaultPubsub: string): CompleteSubscription[] {
  return Object.entries(handlers).map(([name, entry]) => {
    // Each handler knows the type of its events.
    const given = (typeof entry === "function" ? { handler: entry } : entry) as EventSubscription;
    const failure = `Cannot handle events of ${quote(name)}`;
    checkOptions(failure, given, SUBSCRIPTION);
    checkType(failure, "handler", "function", given.handler);
    const subscription = { topic: name, pubsub: defaultPubsub, ...given };
    const { topic, pubsub, group, deadLetterTopic } = subscription;
    for (const text of [topic, pubsub, group, deadLetterTopic])
      if (text !== undefined) checkedName(failure, text);
    return subscription;
  });
}

/** A check that the headers of a call carry `token`. */
function callerCheck(token: string | undefined): (header: Headers) => void {
  const expected = token === undefined ? undefined : utf8(bearer(token));
  return (header) => {
    if (!expected || sameBytes(expected, utf8(header.get("authorization") ?? ""))) return;
    const reason = "this app takes calls of its own runtime only, with its token";
    throw new ConnectError(reason, Code.Unauthenticated);
  };
}

const wireSubscription = ({ pubsub, topic, group, deadLetterTopic, metadata }: CompleteSubscription) => ({
  pubsubName: pubsub,
  topic,
  metadata: {
    ...metadata,
    ...(group !== undefined && { consumerGroup: group }),
    ...(deadLetterTopic !== undefined && { deadLetterTopic }),
  },
});

const SUBSCRIPTION = {
  topic: "string",
  pubsub: "string",
  group: "string",
  deadLetterTopic: "string",
  metadata: "texts",
} as const;

const STATUS = { success: WireStatus.SUCCESS, retry: WireStatus.RETRY, drop: WireStatus.DROP } as const;

function wireStatus(status: unknown = "success"): WireStatus {
  const wire = Object.hasOwn(STATUS, String(status)) ? STATUS[status as EventStatus] : undefined;
  if (wire !== undefined) return wire;
  throw new TypeError(`a handler must return "success", "retry", "drop" or nothing, got ${String(status)}`);
}
