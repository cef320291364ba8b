import type { TopicEventRequest } from "../../../gen/runtime/pubsub_appcallback_pb.js";
import { isJson, isText } from "../../lib/media-type.js";
import { quote } from "../../lib/quote.js";
import { fromUtf8 } from "../../lib/utf8.js";
import { type Coding, codecOf, json } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";

/** An event, as a CloudEvent says it. */
export interface TopicEvent<T = unknown> {
  /** The same in every delivery of the event. */
  readonly id: string;
  /** Where it was published. */
  readonly topic: string;
  /** Who published it, as CloudEvents has it: a URI reference. */
  readonly source: string;
  /** What kind of event it is, as CloudEvents has it. */
  readonly type: string;
  /** The media type of the data, as it was published. */
  readonly contentType: string;
  /**
   * The data, decoded by the codec or schema that was given, else by the media type, JSON to a value, text to a string
   * and all else to bytes; undefined where the event has no data. Where it cannot be decoded, reading this throws
   * `Code.DataLoss`: see unreadableFacts().
   */
  readonly data: T;
  /** The data, byte for byte as it was published. */
  readonly bytes: Uint8Array;
  /** What was published along with it; `deadLetterReason` and more on a dead letter. Empty on the Go runtime. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When it was published; undefined where the server does not tell. */
  readonly publishedAt: Date | undefined;
}

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
  // Other versions of CloudEvents may mean something else by the same fields. One that is not told is that of the server.
  if (specVersion !== "" && !/^1\./.test(specVersion)) {
    throw new TypeError(`CloudEvents of specversion ${quote(specVersion)} are not known`);
  }
  // What T is where there is no data, and where there is no codec, the caller says.
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
