import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../gen/runtime/pubsub/spec/proto/runtime/v1/runtime_pb.js";
import { bytes, type Coding, codecOf, json } from "./codec.js";
import { callsOf } from "./internal/calls.js";
import { loaded } from "./internal/later.js";
import type { Message } from "./internal/subscription.js";
import { wholeSeconds } from "./internal/ttl.js";
import { utf8 } from "./internal/utf8.js";

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
  subscribe<T = unknown>(topic: string, options?: SubscribeOptions & Coding<T>): AsyncIterable<Message<T>>;
}

/** The pubsub that the server calls `name`. Costs nothing: the first call goes to the server. */
export function createPubsub(transport: Transport, name: string): Pubsub {
  const client = callsOf(Runtime, transport);
  return {
    async publish(topic, data, { contentType, metadata, ttlMs, codec, schema, ...call } = {}) {
      const encoded = encode(data, { codec, schema });
      const all: Record<string, string> = { ...metadata };
      if (ttlMs !== undefined) {
        all["ttlInSeconds"] = String(wholeSeconds(ttlMs, `Cannot publish to "${topic}"`, { least: 1 }));
      }
      const request = {
        pubsubName: name,
        topic,
        data: encoded.data,
        dataContentType: contentType ?? encoded.contentType,
        metadata: all,
      };
      await client.publishEvent(request, call);
    },

    subscribe(topic, options = {}) {
      const { group, deadLetterTopic, maxInFlight = 8, metadata, ...rest } = options;
      const { manual = false, onOpen, codec, schema, signal, ...call } = rest;
      if (!Number.isInteger(maxInFlight) || maxInFlight < 1) {
        throw new RangeError(
          `Cannot subscribe to "${topic}": maxInFlight must be a whole number above 0, got ${maxInFlight}`,
        );
      }
      const initial = {
        pubsubName: name,
        topic,
        metadata: {
          ...metadata,
          maxInFlight: String(maxInFlight),
          ...(group !== undefined && { consumerGroup: group }),
        },
        ...(deadLetterTopic !== undefined && { deadLetterTopic }),
      };
      // What T is, only the caller knows; a message of `never` is one of any T.
      const coding = { codec, schema } as Coding<never>;
      return (async function* () {
        const { subscription } = await loaded(import("./on-demand.js"));
        yield* subscription(client, initial, { call, signal, onOpen, coding, manual });
      })();
    },
  };
}

function encode<T>(data: T, coding: Coding<T>): { data: Uint8Array; contentType: string } {
  if (coding.codec || coding.schema) {
    const codec = codecOf(coding);
    return { data: codec.encode(data), contentType: codec.contentType };
  }
  if (typeof data === "string") return { data: utf8(data), contentType: "text/plain" };
  if (data instanceof ArrayBuffer) return { data: new Uint8Array(data), contentType: bytes().contentType };
  if (ArrayBuffer.isView(data)) {
    const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return { data: view, contentType: bytes().contentType };
  }
  return { data: json<T>().encode(data), contentType: json().contentType };
}
