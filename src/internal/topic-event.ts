import type { TopicEventRequest } from "../../gen/runtime/pubsub/spec/proto/runtime/v1/appcallback_pb.js";
import { type Coding, codecOf, json } from "../codec.js";
import { isJson, isText } from "./media-type.js";
import { fromUtf8 } from "./utf8.js";

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
   * The data, decoded when it is first asked for: by the codec or schema that was given, else by the media type, JSON
   * to a value, text to a string and all else to bytes. Throws where it cannot be decoded.
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
  let decoded: { value: T } | undefined;
  return {
    id,
    topic,
    source,
    type,
    contentType,
    get data() {
      decoded ??= { value: decode(bytes, contentType, coding) };
      return decoded.value;
    },
    bytes,
    metadata,
    publishedAt: dateOf(metadata["time"]),
  };
}

function decode<T>(bytes: Uint8Array, contentType: string, coding: Coding<T>): T {
  if (coding.codec || coding.schema) return codecOf(coding).decode(bytes);
  // What T is without a codec, the caller says.
  if (isJson(contentType)) return json<T>().decode(bytes);
  return (isText(contentType) ? fromUtf8(bytes) : bytes) as T;
}

function dateOf(text = ""): Date | undefined {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
