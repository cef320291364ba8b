import { create } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  type TopicEventRequest,
  TopicEventRequestSchema,
} from "../../../../gen/spec/proto/runtime/v1/appcallback_pb.js";
import type { PublishEventRequest } from "../../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { isJson, mediaTypeOf } from "../../../lib/media-type.js";
import { randomId } from "../../../lib/random-id.js";
import { utf8 } from "../../../lib/utf8.js";
import { checkMediaType } from "../../calls/validate/field-rules.js";
import type { EngineClock } from "../../engine.js";
import { invalid } from "../../errors.js";
import { jsonMembers } from "./json-members.js";

/** The attributes of an event that its publisher did not set. */
const DEFAULTS = { source: "runtime", type: "com.runtime.event.sent", specVersion: "1.0" };

/** The media type of an event that was published as a whole CloudEvent. */
const CLOUD_EVENT = "application/cloudevents+json";

/** The attributes that the server sets, whatever an envelope contains. */
const SERVER_ATTRIBUTES = ["topic", "pubsubname"];

/**
 * The CloudEvent of a publish request, with its data unchanged. `trace` is the trace context of the request, for events
 * without their own.
 */
export function eventOf(
  { pubsubName, topic, data, dataContentType, metadata }: PublishEventRequest,
  trace: Record<string, string>,
  clock: Pick<EngineClock, "wall">,
): TopicEventRequest {
  const { attributes, ...event } =
    mediaTypeOf(dataContentType) === CLOUD_EVENT
      ? parseEnvelope(data)
      : {
          ...DEFAULTS,
          id: randomId(),
          dataContentType: dataContentType || "text/plain",
          data,
          attributes: {},
        };
  const now = clock.wall();
  const time = new Date(now).toISOString();
  const { ttlInSeconds } = metadata;
  const expiration = Number(ttlInSeconds) > 0 && new Date(now + Number(ttlInSeconds) * 1000).toISOString();
  const given: Record<string, string> = { ...attributes, ...metadata };
  return create(TopicEventRequestSchema, {
    ...event,
    pubsubName,
    topic,
    metadata: {
      time,
      ...(given["traceparent"] === undefined && trace),
      ...given,
      ...(expiration && { expiration }),
    },
  });
}

/** Whether the event has expired: then it is not delivered. */
export function isExpired({ metadata }: TopicEventRequest, clock: EngineClock): boolean {
  const atMs = Date.parse(metadata["expiration"] ?? "");
  const lifeMs = Number(metadata["ttlInSeconds"]) * 1000;
  // A ttl is measured by the engine's clock from the publish on; a publisher's own expiration by the wall clock.
  if (lifeMs > 0) return clock.ageOf(atMs - lifeMs) >= lifeMs;
  // An invalid time is NaN, which is never reached.
  return atMs <= clock.wall();
}

/** Parses a CloudEvent in its JSON format, and sets missing attributes. */
function parseEnvelope(bytes: Uint8Array) {
  const members = jsonMembers(textOf(bytes));
  if (!members) throw notAnEvent(bytes);
  const take = (name: string): string | undefined => {
    const value = members.get(name);
    members.delete(name);
    return value === "null" ? undefined : value;
  };
  const text = (name: string, otherwise: string): string => {
    const value = take(name) ?? '""';
    if (!value.startsWith('"')) throw invalid(`data.${name}`, value, "must be a string");
    const text = (JSON.parse(value) as string) || otherwise;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: CloudEvents leaves them out of every string
    if (/[\u0000-\u001f\u007f]/.test(text))
      throw invalid(`data.${name}`, text, "must not contain control characters");
    return text;
  };
  const specVersion = text("specversion", "");
  if (specVersion !== DEFAULTS.specVersion) {
    throw invalid("data.specversion", specVersion, `must be "${DEFAULTS.specVersion}"`);
  }
  const hasData = members.has("data") || members.has("data_base64");
  const event = {
    id: text("id", randomId()),
    source: text("source", DEFAULTS.source),
    type: text("type", DEFAULTS.type),
    specVersion,
    // An event without data has no media type.
    dataContentType: text("datacontenttype", hasData ? "application/json" : ""),
  };
  checkMediaType("data.datacontenttype", event.dataContentType);
  const data = dataOf(members.get("data"), take("data_base64"), event.dataContentType);
  for (const name of ["data", ...SERVER_ATTRIBUTES]) members.delete(name);
  return { ...event, data, attributes: Object.fromEntries(attributesOf(members)) };
}

/** The data of an envelope: JSON data is its unchanged text; other text is a JSON string there. */
function dataOf(data: string | undefined, base64: string | undefined, contentType: string): Uint8Array {
  if (base64 !== undefined) {
    if (data !== undefined) throw invalid("data.data_base64", base64, "excludes data.data");
    try {
      if (base64.startsWith('"')) return base64Decode(JSON.parse(base64) as string);
    } catch {}
    throw invalid("data.data_base64", base64, "must be a string in base64");
  }
  if (data === undefined) return new Uint8Array();
  if (isJson(contentType)) return utf8(data);
  if (data.startsWith('"')) return utf8(JSON.parse(data) as string);
  return data === "null" ? new Uint8Array() : utf8(data);
}

function* attributesOf(members: Map<string, string>): Generator<[name: string, value: string]> {
  for (const [name, value] of members) {
    if (value !== "null") yield [name, value.startsWith('"') ? (JSON.parse(value) as string) : value];
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw notAnEvent(bytes);
  }
}

const notAnEvent = (bytes: Uint8Array) =>
  invalid("data", bytes, "must be a CloudEvent as a JSON object in UTF-8");
