import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { AppCallback, type TopicSubscription } from "../../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { asyncDispose } from "../../../lib/dispose.js";
import { quote } from "../../../lib/quote.js";
import { delay } from "../../../lib/timer.js";
import { lostConnection } from "../../../rpc/lost-connection.js";
import { type ErrorMapping, withErrorMapping } from "../../../rpc/with-error-mapping.js";
import { tokenOf, withCredential } from "../../access/credential.js";
import { checkName } from "../../calls/validate/field-rules.js";
import { type Logger, type ServiceContext, silent } from "../../context.js";
import { type App, runAppSession } from "./app-session.js";
import { createGroups, type Subscription, topicOf } from "./delivery.js";

/** The delay before an app that did not answer is asked again. */
const BACKOFF: Backoff = { minMs: 100, maxMs: 900 };

/** How long an app may take to list its subscriptions, in milliseconds. */
const ASK_TIMEOUT_MS = 10_000;

/** Delivers events to every configured app until the server closes. */
export function startApps(context: ServiceContext): void {
  const { components, platform, closing, log } = context;
  for (const name of components.names("apps")) {
    const { url, protocol, token, tokenEnv, ...options } = components.get("apps", name);
    const credential = tokenOf(platform.env, { token, tokenEnv }, `apps[${JSON.stringify(name)}]`);
    const transport = withCredential(platform.dial(url, protocol), credential);
    joinApp(context, name, transport, closing, options)
      .finally(() => transport[asyncDispose]?.())
      .catch((error: unknown) => log.error({ app: name, err: error }, "an app is not served any more"));
  }
}

/** The settings of an app that joins. */
interface JoinOptions extends Partial<Pick<App, "askEveryMs" | "timeoutMs">> {
  /** Whether the app may receive the events of a group of a pubsub. Default: of all groups. */
  mayRead?: (pubsub: string, group: string) => boolean | Promise<boolean>;
  /** Called with the app's subscriptions, before any event is delivered. */
  onSubscriptions?: (subscriptions: readonly Subscription[]) => Promise<void>;
  /** Recognizes the transport's errors of a lost connection, but not by their messages, which an app may choose. */
  readError?: ErrorMapping;
}

/**
 * Delivers events to the app `name` through `transport` until `signal` aborts. Asks for its subscriptions until it
 * answers, and again at intervals. When a call fails as `unavailable`, the app has left: its events wait, and it is
 * asked again with a backoff. Several apps of one name share its events.
 */
export async function joinApp(
  context: ServiceContext,
  name: string,
  transport: Transport,
  signal: AbortSignal,
  {
    askEveryMs = 15_000,
    timeoutMs = 60_000,
    mayRead = () => true,
    onSubscriptions,
    readError = lostConnection,
  }: JoinOptions = {},
): Promise<void> {
  const { log } = context;
  const client = createClient(AppCallback, withErrorMapping(transport, readError));
  // Invalid subscriptions are logged once per session, not each time that the app is asked.
  const listSubscriptions = async (signal: AbortSignal, log: Logger = silent) =>
    validSubscriptions(context, name, await topicSubscriptionsOf(client, signal), mayRead, log);
  const app: App = { name, client, listSubscriptions, askEveryMs, timeoutMs };
  let failures = 0;
  while (!signal.aborted) {
    let next: "ask" | "wait" = "wait";
    try {
      const subscriptions = await listSubscriptions(signal, log);
      await onSubscriptions?.(subscriptions);
      // From now on events wait for the app, also on an engine that takes a while to create a group.
      await Promise.all(subscriptions.map((subscription) => createGroups(context, subscription)));
      log.info({ app: name, subscriptions: subscriptions.length }, "an app is here");
      const { end, hasWorked } = await runAppSession(context, app, subscriptions, signal);
      if (hasWorked) failures = 0;
      if (end === "changed") next = "ask";
      else if (!signal.aborted) log.warn({ app: name }, "an app left: its events wait");
    } catch (error) {
      // Logged once until the app works again.
      if (failures === 0 && !signal.aborted)
        log.warn({ app: name, err: error }, "an app does not answer yet");
    }
    if (next === "wait") await delay(jitteredMs(BACKOFF, ++failures), signal);
  }
}

/** The subscriptions of the app that are valid. Logs the others. */
async function validSubscriptions(
  { components, limits }: ServiceContext,
  app: string,
  requested: TopicSubscription[],
  mayRead: NonNullable<JoinOptions["mayRead"]>,
  log: Logger,
): Promise<Subscription[]> {
  const valid = new Map<string, Subscription>();
  for (const { pubsubName: pubsub, topic, metadata } of requested) {
    const { consumerGroup, deadLetterTopic } = metadata;
    const subscription = {
      pubsub,
      topic,
      group: consumerGroup || app,
      deadLetterTopic: deadLetterTopic || undefined,
    };
    try {
      components.get("pubsub", pubsub);
      checkName("topic", topic, limits);
      checkName('metadata["consumerGroup"]', subscription.group, limits);
      if (deadLetterTopic) checkName('metadata["deadLetterTopic"]', deadLetterTopic, limits);
      if (deadLetterTopic === topic) throw new TypeError(`topic "${topic}" is its own dead letter topic`);
      if (!(await mayRead(pubsub, subscription.group))) {
        throw new TypeError(`no rule lets the app have the events of group ${quote(subscription.group)}`);
      }
      valid.set(topicOf(pubsub, topic), subscription);
    } catch (error) {
      const why = error instanceof ConnectError ? error.rawMessage : String(error);
      log.warn({ app, pubsub, topic, why }, "a subscription of an app is left out");
    }
  }
  return [...valid.values()].slice(0, limits.batchItems);
}

/** The app's answer to ListTopicSubscriptions; none if it does not implement that. */
async function topicSubscriptionsOf(client: App["client"], signal: AbortSignal) {
  try {
    const { subscriptions } = await client.listTopicSubscriptions({}, { signal, timeoutMs: ASK_TIMEOUT_MS });
    return subscriptions;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.Unimplemented) return [];
    throw error;
  }
}
