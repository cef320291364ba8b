import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/runtime/pubsub_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { wholeSeconds } from "../rpc/ttl.js";
import { bytes, type Codec, type Coding, codecOf, encoded, json, text } from "./codec.js";
import { type Follower, lazyFollower } from "./follower.js";
import { generatedClient } from "./generated-client.js";
import type { Message } from "./pubsub/subscription.js";

export type { Message };

/** How an event is published. */
export interface PublishOptions extends CallOptions {
  /**
   * The media type of the data. Default: that of the codec; without one `text/plain` for a string,
   * `application/octet-stream` for bytes and `application/json` for the rest. With `application/cloudevents+json` the
   * data is a whole CloudEvent in its JSON form.
   */
  contentType?: string;
  /** Sent along with the event. */
  metadata?: Record<string, string>;
  /** An event that waits for longer is dropped, in whole seconds, rounded up. Default: it waits. */
  ttlMs?: number;
}

/** How the events of a topic come. */
export interface SubscribeOptions extends CallOptions {
  /** The consumer group: its members share the events. Default: the app id that the server takes you for. */
  group?: string;
  /** The topic that takes the events that were delivered in vain too often. Default: such an event is dropped. */
  deadLetterTopic?: string;
  /**
   * The most events that are sent ahead of the answers: fewer are shared more evenly among consumers, more keep a fast
   * one busier. The server has a bound of its own. Default: 8.
   */
  maxInFlight?: number;
  /** Further options for the server. */
  metadata?: Record<string, string>;
  /**
   * Asking for the next event does not answer the last one: each is answered by its own methods, in any order, so that
   * several can be worked on at a time. Default: false.
   */
  manual?: boolean;
  /** Called each time that the subscription stands: what is published from then on is received. */
  onOpen?: () => void;
}

/** Events by topic. Every consumer group receives all of them, at least once, and its members share them. */
export interface Pubsub {
  /**
   * Publishes `data`: text, bytes, or anything that JSON can hold. Resolves when the server has it. It is not sent
   * again where the answer is lost: the event could be there twice. `PublishEvent`
   */
  publish<T>(topic: string, data: T, options?: PublishOptions & Coding<T>): Promise<void>;
  /**
   * The events of `topic`, from the moment on that its group began: with its first consumer. Asking for the next event
   * answers the last one: handled. Leaving the loop by `break` or a throw gives it back, to be delivered again
   * (JavaScript cannot tell the two apart: call `message.ack()` before a `break`). Aborting throws `Code.Canceled`, in
   * the body of the loop only after it. A lost connection is made anew. `SubscribeTopicEvents`
   */
  subscribe<T = unknown>(topic: string, options?: SubscribeOptions & Coding<T>): Follower<Message<T>>;
}

/** The pubsub that the server calls `name`. Costs nothing: the first call goes to the server. */
export function createPubsub(transport: Transport, name: string): Pubsub {
  const client = generatedClient(Runtime, transport);
  const pubsubName = checkedName("the pubsub", name);
  return {
    async publish(topic, data, options = {}) {
      const what = `Cannot publish to ${quote(topic)}`;
      checkedName(`${what}: the topic`, topic);
      checkOptions(what, options, { contentType: "string", metadata: "texts", ttlMs: "number" });
      const { contentType, metadata, ttlMs, codec, schema, ...call } = options;
      const coded = encode(what, data, { codec, schema });
      const all: Record<string, string> = { ...metadata };
      if (ttlMs !== undefined) all["ttlInSeconds"] = String(wholeSeconds(ttlMs, what, { least: 1 }));
      const request = {
        pubsubName,
        topic,
        data: coded.bytes,
        dataContentType: contentType ?? coded.contentType,
        metadata: all,
      };
      await client.publishEvent(request, call);
    },

    subscribe(topic, options = {}) {
      const what = `Cannot subscribe to ${quote(topic)}`;
      checkedName(`${what}: the topic`, topic);
      checkOptions(what, options, SUBSCRIBE);
      const { group, deadLetterTopic, maxInFlight = 8, metadata, ...rest } = options;
      const { manual = false, onOpen, codec, schema, signal, ...call } = rest;
      if (group !== undefined) checkedName(`${what}: group`, group);
      if (deadLetterTopic !== undefined) checkedName(`${what}: deadLetterTopic`, deadLetterTopic);
      const initial = {
        pubsubName,
        topic,
        metadata: {
          ...metadata,
          maxInFlight: String(checkedCount(what, "maxInFlight", maxInFlight, 999_999_999)),
          ...(group !== undefined && { consumerGroup: group }),
        },
        ...(deadLetterTopic !== undefined && { deadLetterTopic }),
      };
      // What T is, only the caller knows; a message of `never` is one of any T.
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

/** The bytes of `data` and their media type, by the codec that is asked for, or the one that fits. */
function encode<T>(what: string, data: T, coding: Coding<T>): { bytes: Uint8Array; contentType: string } {
  const by = <D>(codec: Codec<D>, value: D, contentType = codec.contentType) => ({
    bytes: encoded(what, codec, value),
    contentType,
  });
  if (coding.codec || coding.schema) return by(codecOf(coding), data);
  if (typeof data === "string") return by(text(), data, "text/plain");
  if (data instanceof ArrayBuffer) return by(bytes(), new Uint8Array(data));
  if (!ArrayBuffer.isView(data)) return by(json<T>(), data);
  return by(bytes(), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}
