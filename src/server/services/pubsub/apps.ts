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
import { type Log, type ServiceContext, silent } from "../../context.js";
import { type App, runAppSession } from "./app-session.js";
import { type Subscription, topicOf } from "./delivery.js";

/** How long to wait before an app that did not answer is asked again. */
const BACKOFF: Backoff = { minMs: 100, maxMs: 900 };

/** How long an app may take to tell its subscriptions, in milliseconds. */
const ASK_TIMEOUT_MS = 10_000;

/** Delivers events to every configured app from now on, until the server closes. No app, no work. */
export function startApps(context: ServiceContext): void {
  const { components, platform, closing, log } = context;
  for (const name of components.names("apps")) {
    const { url, protocol, token, tokenEnv, ...options } = components.get("apps", name);
    const known = tokenOf(platform.env, { token, tokenEnv }, `apps[${JSON.stringify(name)}]`);
    const transport = withCredential(platform.dial(url, protocol), known);
    joinApp(context, name, transport, closing, options)
      .finally(() => transport[asyncDispose]?.())
      .catch((error: unknown) => log.error({ app: name, err: error }, "an app is not served any more"));
  }
}

/** How an app that joins is treated. */
interface JoinOptions extends Partial<Pick<App, "askEveryMs" | "timeoutMs">> {
  /** Whether it may have the events of a group of a pubsub. Default: those of all. */
  mayRead?: (pubsub: string, group: string) => boolean | Promise<boolean>;
  /** Is told what it wants, before it has any of it. Default: no one is. */
  onSubscriptions?: (subscriptions: readonly Subscription[]) => Promise<void>;
  /** Maps what the transport reports of a lost connection. Never the texts of errors: they are the app's own words. */
  readError?: ErrorMapping;
}

/**
 * Delivers events to the app `name`, reached through `transport`, until `signal` aborts. Asks for its subscriptions
 * until it answers, and again now and then. When it leaves (a call fails as `unavailable`), its subscriptions are
 * dropped and their events wait, while it is asked again. Several apps of one name share its events.
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
  // What it asks for again and again need not be complained of each time.
  const ask = async (signal: AbortSignal, log: Log = silent) =>
    wanted(context, name, await told(client, signal), mayRead, log);
  const app: App = { name, client, ask, askEveryMs, timeoutMs };
  let failures = 0;
  while (!signal.aborted) {
    let next: "ask" | "wait" = "wait";
    try {
      const subscriptions = await ask(signal, log);
      await onSubscriptions?.(subscriptions);
      log.info({ app: name, subscriptions: subscriptions.length }, "an app is here");
      const { end, worked } = await runAppSession(context, app, subscriptions, signal);
      if (worked) failures = 0;
      if (end === "changed") next = "ask";
      else if (!signal.aborted) log.warn({ app: name }, "an app left: its events wait");
    } catch (error) {
      // Once for each absence is enough to read.
      if (failures === 0 && !signal.aborted)
        log.warn({ app: name, err: error }, "an app does not answer yet");
    }
    if (next === "wait") await delay(jitteredMs(BACKOFF, ++failures), signal);
  }
}

/** What the app asked for, as far as it can be had. */
async function wanted(
  { components, limits }: ServiceContext,
  app: string,
  asked: TopicSubscription[],
  mayRead: NonNullable<JoinOptions["mayRead"]>,
  log: Log,
): Promise<Subscription[]> {
  const found = new Map<string, Subscription>();
  for (const { pubsubName: pubsub, topic, metadata } of asked) {
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
      found.set(topicOf(pubsub, topic), subscription);
    } catch (error) {
      const why = error instanceof ConnectError ? error.rawMessage : String(error);
      log.warn({ app, pubsub, topic, why }, "a subscription of an app is left out");
    }
  }
  return [...found.values()].slice(0, limits.batchItems);
}

/** What the app answers; one that does not serve AppCallback wants nothing. */
async function told(client: App["client"], signal: AbortSignal) {
  try {
    const { subscriptions } = await client.listTopicSubscriptions({}, { signal, timeoutMs: ASK_TIMEOUT_MS });
    return subscriptions;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.Unimplemented) return [];
    throw error;
  }
}
