import type { TopicEventRequest } from "../../../gen/runtime/pubsub_appcallback_pb.js";
import { isJson, isText } from "../../lib/media-type.js";
import { quote } from "../../lib/quote.js";
import { fromUtf8 } from "../../lib/utf8.js";
import { type Coding, codecOf, json } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import type { TopicEvent } from "../pubsub.js";

/** The event that `wire` carries. */
export function topicEvent<T>(wire: TopicEventRequest, coding: Coding<T>): TopicEvent<T> {
  const { id, topic, source, type, dataContentType: contentType, data: bytes, metadata } = wire;
  const event = {
    id,
    topic,
    source,
    type,
    contentType,
    data: undefined as T,
    bytes,
    metadata,
    publishedAt: dateOf(metadata["time"]),
  };
  const decode = () => decoded(wire, coding);
  return decodeInto(event, "data", { decode }, bytes, { pubsub: wire.pubsubName, topic, id });
}

function decoded<T>({ data, dataContentType, specVersion }: TopicEventRequest, coding: Coding<T>): T {
  // Another version of CloudEvents may give the fields another meaning. No version means the server's own, 1.0.
  if (specVersion !== "" && !/^1\./.test(specVersion)) {
    throw new TypeError(`CloudEvents of specversion ${quote(specVersion)} are not known`);
  }
  // T is the promise of the caller about events without data, and about those that no codec checks.
  if (data.length === 0 && dataContentType === "") return undefined as T;
  if (coding.codec || coding.schema) return codecOf(coding).decode(data);
  if (data.length === 0 && isJson(dataContentType)) return undefined as T;
  if (isJson(dataContentType)) return json<T>().decode(data);
  return (isText(dataContentType) ? fromUtf8(data) : data) as T;
}

function dateOf(text = ""): Date | undefined {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
