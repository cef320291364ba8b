import type * as runtime from "../../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { RESERVED_KEY } from "../../../gossip/reserved-key.js";
import { timestampFault } from "../../../gossip/timestamp-fault.js";
import { utf8Length } from "../../../lib/utf8.js";
import type { Limits } from "../../config/config.js";
import { exhausted, invalid } from "../../errors.js";

/** Throws a refusal if `value`, which is at `field` of the request, is not valid. */
export type FieldRule = (value: unknown, field: string, limits: Limits) => void;

export const EMPTY = "must not be empty";

/** A name, possibly empty: at most 255 characters, and no control characters. */
export const optionalName: FieldRule = (value, field) => {
  const text = value as string;
  if (text.length > 255) throw invalid(field, text, "must be at most 255 characters");
  if (hasControls(text)) throw invalid(field, text, "must not contain control characters");
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: these characters are the ones to find
const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f]/.test(text);

export const name: FieldRule = (value, field, limits) => {
  if (value === "") throw invalid(field, value, EMPTY);
  optionalName(value, field, limits);
};

/** Refuses a text that is not a name: for names in request headers, which the rules of messages do not reach. */
export const checkName = (field: string, text: string, limits: Limits): void => name(text, field, limits);

/** Opaque UTF-8, possibly empty. */
export const prefix: FieldRule = (value, field, { keyBytes }) => {
  const bytes = utf8Length(value as string);
  if (bytes > keyBytes) throw exhausted("keyBytes", keyBytes, `${field} has ${bytes} bytes`);
};

export const key: FieldRule = (value, field, limits) => {
  if (value === "") throw invalid(field, value, `${EMPTY}: 1 to ${limits.keyBytes} bytes`);
  prefix(value, field, limits);
};

export const keys: FieldRule = (value, field, limits) => {
  items(value, field, limits);
  for (const [i, item] of (value as string[]).entries()) key(item, `${field}[${i}]`, limits);
};

export const items: FieldRule = (value, field, { batchItems }) => {
  const { length } = value as unknown[];
  if (length > batchItems) throw exhausted("batchItems", batchItems, `${field} has ${length} items`);
};

export const someItems: FieldRule = (value, field, limits) => {
  if ((value as unknown[]).length === 0) throw invalid(field, "[]", "must have at least one item");
  items(value, field, limits);
};

/** Texts by name, together at most as large as a value may be. */
export const pairs: FieldRule = (value, field, { valueBytes }) => {
  let length = 0;
  for (const pair of Object.entries(value as object)) for (const text of pair) length += utf8Length(text);
  if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);
};

/** A text or bytes: at most as large as a value may be. */
export const boundedBytes: FieldRule = (value, field, { valueBytes }) => {
  const length = typeof value === "string" ? utf8Length(value) : (value as Uint8Array).length;
  if (length > valueBytes) throw exhausted("valueBytes", valueBytes, `${field} has ${length} bytes`);
};

/** The content of a google.protobuf.Any, if there is one. */
export const anyBytes: FieldRule = (value, field, limits) => {
  if (value !== undefined) boundedBytes((value as { value: Uint8Array }).value, `${field}.value`, limits);
};

/** The name of a secret. A NUL would end the name of an environment variable. */
export const secretKey: FieldRule = (value, field, limits) => {
  key(value, field, limits);
  if (hasControls(value as string)) throw invalid(field, value, "must not contain control characters");
};

/** A media type. It becomes a header, in which a line break would begin another header. */
export const mediaType: FieldRule = (value, field) => checkMediaType(field, value as string);

/** Refuses a text that is not a media type: also for texts that the rules of messages do not reach. */
export function checkMediaType(field: string, text: string): void {
  if (/^[\x20-\x7e]{0,255}$/.test(text)) return;
  throw invalid(field, text, "must be a media type: at most 255 printable ASCII characters");
}

export const required: FieldRule = (value, field) => {
  if (value === undefined) throw invalid(field, value, "must be set");
};

export const positive: FieldRule = (value, field) => {
  if ((value as number) <= 0) throw invalid(field, value, "must be above 0");
};

export const notNegative: FieldRule = (value, field) => {
  if ((value as number) < 0) throw invalid(field, value, "must not be below 0");
};

export const notEmpty: FieldRule = (value, field) => {
  if (value === "") throw invalid(field, value, EMPTY);
};

/** The metadata of a published event that is meant for the server. */
export const publishMetadata: FieldRule = (value, field, limits) => {
  pairs(value, field, limits);
  const { ttlInSeconds } = value as Record<string, string>;
  if (ttlInSeconds === undefined || /^[+-]?\d{1,11}$/.test(ttlInSeconds)) return;
  throw invalid(`${field}["ttlInSeconds"]`, ttlInSeconds, "must be a whole number of seconds");
};

/** The metadata of a subscription that is meant for the server. */
export const subscriptionMetadata: FieldRule = (value, field, limits) => {
  const { consumerGroup = "", maxInFlight = "1" } = value as Record<string, string>;
  optionalName(consumerGroup, `${field}["consumerGroup"]`, limits);
  if (/^[1-9]\d{0,8}$/.test(maxInFlight)) return;
  throw invalid(`${field}["maxInFlight"]`, maxInFlight, "must be a whole number above 0");
};

/** A request about one file: unlike a listing, it must name the file. */
export const oneFile: FieldRule = (value, field, limits) => {
  required(value, field, limits);
  key((value as runtime.FileRequest).name, `${field}.name`, limits);
};

/** The range of a file to read. */
export const range: FieldRule = (value, field) => {
  for (const key of ["offset", "length"]) {
    const text = (value as Record<string, string>)[key];
    if (text === undefined || /^\d{1,20}$/.test(text)) continue;
    throw invalid(`${field}["${key}"]`, text, "must be a whole number of bytes, 0 or more");
  }
};

/** The metadata that a client stores with a file. */
export const fileMetadata: FieldRule = (value, field, limits) => {
  const { fileMetadataBytes } = limits;
  const metadata = value as Record<string, string>;
  const { contentType = "", ifAbsent = "false", sha256 } = metadata;
  mediaType(contentType, `${field}["contentType"]`, limits);
  if (ifAbsent !== "true" && ifAbsent !== "false") {
    throw invalid(`${field}["ifAbsent"]`, ifAbsent, 'must be "true" or "false"');
  }
  if (sha256 !== undefined) {
    throw invalid(`${field}["sha256"]`, sha256, "must be left out: the server computes it");
  }
  let bytes = 0;
  for (const [key, text] of Object.entries(metadata)) bytes += utf8Length(key) + utf8Length(text) + 8;
  if (bytes > fileMetadataBytes) {
    throw exhausted("fileMetadataBytes", fileMetadataBytes, `${field} has ${bytes} bytes`);
  }
};

/** Entries of a gossip map by key. */
export const gossipEntries: FieldRule = (value, field, limits) => {
  checkGossipKeys(Object.keys(value as object), field, limits);
};

/** Digests of a gossip map's entries by key, and the record of the protocol's own under the reserved key. */
export const gossipDigests: FieldRule = (value, field, limits) => {
  const keys = Object.keys(value as object).filter((each) => each !== RESERVED_KEY);
  checkGossipKeys(keys, field, limits);
};

function checkGossipKeys(keys: readonly string[], field: string, limits: Limits): void {
  const most = limits.gossipEntries;
  if (keys.length > most) throw exhausted("gossipEntries", most, `${field} has ${keys.length} keys`);
  for (const each of keys) key(each, `${field}[${JSON.stringify(each)}]`, limits);
}

/** A time on the clocks of a gossip map's members. How far it may be ahead is up to the service. */
export const timestamp: FieldRule = (value, field) => {
  const fault = timestampFault(value as Uint8Array);
  if (fault) throw invalid(field, value, fault);
};
