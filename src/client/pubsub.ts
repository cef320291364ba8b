import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/runtime/pubsub_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { wholeSeconds } from "../rpc/ttl.js";
import { bytes, type Codec, type Coding, codecOf, encoded, json, text } from "./codec.js";
import { type Follower, lazyFollower } from "./follower.js";
import { generatedClient } from "./generated-client.js";

/** Topics of events. Every consumer group receives each event at least once, and its members share the events. */
export interface Pubsub {
  /**
   * Publishes `data`: text, bytes, or a value that has a JSON form. Resolves when the server has stored the event. It
   * is not retried if the answer is lost, because the event could then exist twice. `PublishEvent`
   */
  publish<T>(topic: string, data: T, options?: PublishOptions & Coding<T>): Promise<void>;
  /**
   * The events of `topic` since the group's first subscription. The next step of the loop acknowledges the last event.
   * Leaving the loop by `break` or a throw returns it to the group, to be delivered again; JavaScript does not tell
   * which of the two it was, so call `message.ack()` before a `break`. Aborting throws `Code.Canceled` after the body
   * of the loop has ended. Reconnects by itself. `SubscribeTopicEvents`
   */
  subscribe<T = unknown>(topic: string, options?: SubscribeOptions & Coding<T>): Follower<Message<T>>;
}

/** Options of `publish()`. */
export interface PublishOptions extends CallOptions {
  /**
   * The media type of the data. Default: that of the codec; without one `text/plain` for a string,
   * `application/octet-stream` for bytes and `application/json` for other values. With `application/cloudevents+json`
   * the data is a whole CloudEvent in its JSON form.
   */
  contentType?: string;
  /** Metadata that is delivered with the event. Default: none. */
  metadata?: Record<string, string>;
  /**
   * The time in milliseconds after which an event that was not delivered is dropped, rounded up to whole seconds.
   * Default: never.
   */
  ttlMs?: number;
}

/** Options of `subscribe()`. */
export interface SubscribeOptions extends CallOptions {
  /** The consumer group: its members share the events. Default: the app id by which the server knows the caller. */
  group?: string;
  /** The topic that gets events whose deliveries all failed. Default: such an event is dropped. */
  deadLetterTopic?: string;
  /**
   * How many events the server sends before they are acknowledged. A low number distributes events more evenly among
   * consumers, a high one keeps a fast consumer busy. The server has a limit of its own. Default: 8.
   */
  maxInFlight?: number;
  /** Further options for the server. Default: none. */
  metadata?: Record<string, string>;
  /**
   * The loop acknowledges nothing: each event is answered by its own methods, in any order, so that several can be in
   * progress at a time. Default: false.
   */
  manual?: boolean;
  /** Called each time that the subscription is established. Events that are published later are received. */
  onOpen?: () => void;
}

/** An event, with the fields of a CloudEvent. */
export interface TopicEvent<T = unknown> {
  /** The id of the event, the same in each of its deliveries. */
  readonly id: string;
  /** The topic to which it was published. */
  readonly topic: string;
  /** The publisher: the CloudEvents `source`, a URI reference. */
  readonly source: string;
  /** The kind of event: the CloudEvents `type`. */
  readonly type: string;
  /** The media type of the data, as it was published. */
  readonly contentType: string;
  /**
   * The data, decoded by the codec or schema that was given; without one by the media type: JSON to a value, text to a
   * string, the rest to bytes. Undefined if the event has no data. If the data cannot be decoded, reading this property
   * throws `Code.DataLoss`: see unreadableFacts().
   */
  readonly data: T;
  /** The data, byte for byte as it was published. */
  readonly bytes: Uint8Array;
  /** The metadata of the publisher; a dead letter also has `deadLetterReason` and more. Empty from a Go runtime. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The time of publication; undefined if the server does not send it. */
  readonly publishedAt: Date | undefined;
}

/**
 * An event that was delivered to one consumer. Only the first answer counts. An answer after the loop was left or the
 * connection was lost has no effect: the event is delivered again.
 */
export interface Message<T = unknown> extends TopicEvent<T> {
  /** The event is handled: the group does not receive it again. */
  ack(): void;
  /** The event is not handled: the group receives it again, after a delay that grows with each delivery. */
  retry(): void;
  /** The event cannot be handled: the group does not receive it again, and the server logs a warning. */
  drop(): void;
}

/** The result of an event: it is handled, delivered again after a growing delay, or dropped with a warning. */
export type EventStatus = "success" | "retry" | "drop";

/**
 * Handles one event. Returning nothing means "success"; a throw means "retry", with the error's message as the reason.
 * `signal` aborts when the runtime no longer waits for the answer; the event is then delivered again.
 */
export type EventHandler<T = unknown> = (
  event: TopicEvent<T>,
  call: { signal: AbortSignal },
  // biome-ignore lint/suspicious/noConfusingVoidType: of a function that returns nothing
) => EventStatus | void | Promise<EventStatus | void>;

/** A handler, and the options of its subscription. */
export type EventSubscription<T = unknown> = Coding<T> & {
  /** Handles each event and returns its status. */
  handler: EventHandler<T>;
  /** The topic. Default: the key of this entry. */
  topic?: string;
  /** The pubsub component. Default: that of the options. */
  pubsub?: string;
  /** The consumer group: its members share the events. Default: the runtime's name for this app. */
  group?: string;
  /** The topic that gets events whose deliveries all failed. Default: such an event is dropped. */
  deadLetterTopic?: string;
  /** Further options for the runtime. Default: none. */
  metadata?: Record<string, string>;
};

/** The event handlers of an app, by topic. */
export type EventHandlers<T> = { [Topic in keyof T]: EventHandler<T[Topic]> | EventSubscription<T[Topic]> };

/** Options of `createCallbacks()` and `fl.pubsub.serve()`. */
export interface CallbackOptions {
  /** The pubsub component of handlers that name none. Default: "default". */
  pubsub?: string;
  /** The bearer token that calls of the runtime must carry, as its configuration has it for this app. Default: none. */
  token?: string;
  /**
   * Called with errors of handlers, and for events that have no handler. Default: only the runtime gets the error, as
   * the answer.
   */
  onError?: (error: unknown, event: TopicEvent) => void;
}

/**
 * The pubsub that the server calls `name`. Makes no call.
 *
 * @example
 * ```ts
 * import { createPubsub } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const transport = createNodeTransport("http://localhost:34904");
 * const pubsub = createPubsub(transport, "default");
 * const onOpen = () => pubsub.publish("orders", { id: 7 });
 * for await (const message of pubsub.subscribe<{ id: number }>("orders", { group: "billing", onOpen })) {
 *   console.log(message.data.id); // 7
 *   message.ack();
 *   break;
 * }
 * await transport.close();
 * ```
 */
export function createPubsub(transport: Transport, name: string): Pubsub {
  const client = generatedClient(Runtime, transport);
  const pubsubName = checkedName("the pubsub", name);
  return {
    async publish(topic, data, options = {}) {
      const failure = `Cannot publish to ${quote(topic)}`;
      checkedName(`${failure}: the topic`, topic);
      checkOptions(failure, options, { contentType: "string", metadata: "texts", ttlMs: "number" });
      const { contentType, metadata, ttlMs, codec, schema, ...call } = options;
      const coded = encode(failure, data, { codec, schema });
      const allMetadata: Record<string, string> = { ...metadata };
      if (ttlMs !== undefined)
        allMetadata["ttlInSeconds"] = String(wholeSeconds(ttlMs, failure, { least: 1 }));
      const request = {
        pubsubName,
        topic,
        data: coded.bytes,
        dataContentType: contentType ?? coded.contentType,
        metadata: allMetadata,
      };
      await client.publishEvent(request, call);
    },

    subscribe(topic, options = {}) {
      const failure = `Cannot subscribe to ${quote(topic)}`;
      checkedName(`${failure}: the topic`, topic);
      checkOptions(failure, options, SUBSCRIBE);
      const { group, deadLetterTopic, maxInFlight = 8, metadata, ...rest } = options;
      const { manual = false, onOpen, codec, schema, signal, ...call } = rest;
      if (group !== undefined) checkedName(`${failure}: group`, group);
      if (deadLetterTopic !== undefined) checkedName(`${failure}: deadLetterTopic`, deadLetterTopic);
      const initial = {
        pubsubName,
        topic,
        metadata: {
          ...metadata,
          maxInFlight: String(checkedCount(failure, "maxInFlight", maxInFlight, 999_999_999)),
          ...(group !== undefined && { consumerGroup: group }),
        },
        ...(deadLetterTopic !== undefined && { deadLetterTopic }),
      };
      // Only the caller knows T. A message of `never` fits any T.
      const coding = { codec, schema } as Coding<never>;
      return lazyFollower(({ subscription }) =>
        subscription(transport, client, initial, { call, signal, onOpen, coding, manual }),
      );
    },
  };
}

const SUBSCRIBE = {
  group: "string",
  deadLetterTopic: "string",
  maxInFlight: "number",
  metadata: "texts",
  manual: "boolean",
  onOpen: "function",
} as const;

/** The bytes of `data` and their media type, by the given codec or schema, or by the codec for its type. */
function encode<T>(failure: string, data: T, coding: Coding<T>): { bytes: Uint8Array; contentType: string } {
  const encodeWith = <D>(codec: Codec<D>, value: D, contentType = codec.contentType) => ({
    bytes: encoded(failure, codec, value),
    contentType,
  });
  if (coding.codec || coding.schema) return encodeWith(codecOf(coding), data);
  if (typeof data === "string") return encodeWith(text(), data, "text/plain");
  if (data instanceof ArrayBuffer) return encodeWith(bytes(), new Uint8Array(data));
  if (!ArrayBuffer.isView(data)) return encodeWith(json<T>(), data);
  return encodeWith(bytes(), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}
