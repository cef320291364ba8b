import type { ConnectRouter } from "@connectrpc/connect";
import { AppCallback } from "../gen/runtime/pubsub/spec/proto/runtime/v1/appcallback_pb.js";
import { bearer } from "./internal/bearer.js";
import type { EventHandler, EventSubscription } from "./internal/handle-event.js";
import { loaded } from "./internal/later.js";
import type { TopicEvent } from "./internal/topic-event.js";

export type { EventHandler, EventSubscription, Verdict } from "./internal/handle-event.js";

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
  { pubsub: defaultPubsub = "default", token, onError }: CallbackOptions = {},
): (router: ConnectRouter) => void {
  const wanted = Object.entries(handlers).map(([name, entry]) => {
    // What T is, each handler knows for itself.
    const given = (typeof entry === "function" ? { handler: entry } : entry) as EventSubscription;
    return { topic: name, pubsub: defaultPubsub, ...given };
  });
  const authorization = token === undefined ? undefined : bearer(token);
  const app = { wanted, authorization, onError };
  const code = () => loaded(import("./on-demand.js"));
  return (router) => {
    router.service(AppCallback, {
      listTopicSubscriptions: async (_, { requestHeader }) => (await code()).wantedTopics(app, requestHeader),
      onTopicEvent: async (wire, context) => (await code()).handleEvent(app, wire, context),
    });
  };
}
