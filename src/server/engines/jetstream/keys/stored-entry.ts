import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { fromUtf8 } from "../../../../lib/utf8.js";
import type { Entry } from "../../../engine.js";
import type { Header } from "../message.js";
import { MARKER_TTL_MS } from "../streams.js";
import { type KeySubject, keyOfSubject } from "./key-subjects.js";

/** The expiry by the cluster's clock, in milliseconds. */
const EXPIRES = "Fl-Expires";

/** How many messages of the same commit come after this one. The version is the sequence of the last one. */
const DISTANCE = "Fl-Distance";

/** The message deletes the key. */
const DELETED = "Fl-Deleted";

/** The key in base 64, where the subject has a hash of it. */
const KEY = "Fl-Key";

/** How many parts of the value are messages of their own. */
const PARTS = "Fl-Parts";

/** The message is a part of a value: the subject of its entry. */
const PART_OF = "Fl-Part-Of";

/** nats-server leaves no marker for a message with this header when its lifetime ends. */
const NO_MARKER: Header = ["KV-Operation", "PURGE"];

/** nats-server removes an entry this much later than it expires, so that the servers' clocks may differ. */
export const CLEANUP_DELAY_MS = 2000;

/** nats-server counts lifetimes in nanoseconds of 64 bits. A longer lifetime is not given to it. */
const MAX_TTL_S = 2 ** 32;

/** The last message of a key's subject. */
export interface StoredEntry {
  /** Undefined for a part of a value, and for nats-server's marker on a subject with a hash of the key. */
  key: string | undefined;
  subject: string;
  sequence: number;
  version: bigint;
  /** The part of the value in the message: its end, if `parts` is above 0. */
  value: Uint8Array;
  parts: number;
  /** For a part of a value: the subject of its entry. */
  partOf?: string;
  expiresAtMs: number | undefined;
  isDeleted: boolean;
  /** Whether it is nats-server's own marker for an entry whose lifetime has ended. */
  isMarker?: boolean;
}

/** The last messages of subjects at one moment. */
export interface KeySnapshot {
  entries: ReadonlyMap<string, StoredEntry>;
  /** All that was acknowledged before the read has a lower sequence. */
  sequence: number;
}

/** The entry to store: its distance to the last message of its commit, and how many parts its value has elsewhere. */
export interface EntryHeaders {
  distance: number;
  parts: number;
  expiresAtMs: number | undefined;
}

/** The headers of the message that sets a key. */
export function setHeaders(
  key: string,
  { isHashed }: KeySubject,
  { distance, parts, expiresAtMs }: EntryHeaders,
  nowMs: number,
): Header[] {
  const headers = commonHeaders(key, isHashed, distance);
  if (parts > 0) headers.push([PARTS, String(parts)]);
  if (expiresAtMs !== undefined)
    headers.push([EXPIRES, String(expiresAtMs)], ...cleanupHeaders(expiresAtMs, nowMs));
  return headers;
}

/** The headers of the message of one part of the value at `subject`. */
export function partHeaders(subject: string, expiresAtMs: number | undefined, nowMs: number): Header[] {
  const headers: Header[] = [[PART_OF, subject]];
  if (expiresAtMs !== undefined) headers.push(NO_MARKER, ...cleanupHeaders(expiresAtMs, nowMs));
  return headers;
}

/** The headers of the message that deletes a key. It is removed later, and then leaves no marker. */
export function deleteHeaders(key: string, { isHashed }: KeySubject, distance: number): Header[] {
  const ttlS = String(MARKER_TTL_MS / 1000);
  return [...commonHeaders(key, isHashed, distance), [DELETED, "1"], NO_MARKER, ["Nats-TTL", ttlS]];
}

/** The headers by which nats-server removes a message some time after it expires. */
function cleanupHeaders(expiresAtMs: number, nowMs: number): Header[] {
  const ttlS = Math.ceil((Math.max(0, expiresAtMs - nowMs) + CLEANUP_DELAY_MS) / 1000);
  return ttlS < MAX_TTL_S ? [["Nats-TTL", String(ttlS)]] : [];
}

function commonHeaders(key: string, isHashed: boolean, distance: number): Header[] {
  const headers: Header[] = [];
  if (distance > 0) headers.push([DISTANCE, String(distance)]);
  if (isHashed) headers.push([KEY, Buffer.from(key).toString("base64")]);
  return headers;
}

/** The entry in a message of the stream of keys. */
export function storedEntryOf(
  root: string,
  subject: string,
  sequence: number,
  { headers, data }: Pick<Msg, "headers" | "data">,
): StoredEntry {
  const own = readHeaders(headers);
  const key = own.key ?? (subject.startsWith(root) ? keyOfSubject(root, subject) : undefined);
  const { distance, parts, partOf, expiresAtMs, isDeleted, isMarker } = own;
  // A copy, as the client's buffer may be much larger than the value.
  const value = new Uint8Array(data);
  return {
    ...(partOf !== undefined && { partOf }),
    key,
    subject,
    sequence,
    version: BigInt(sequence + distance),
    value,
    parts,
    expiresAtMs,
    isDeleted,
    ...(isMarker && { isMarker }),
  };
}

type OwnHeaders = Pick<StoredEntry, "key" | "parts" | "partOf" | "expiresAtMs" | "isDeleted" | "isMarker"> & {
  distance: number;
};

function readHeaders(headers: MsgHdrs | undefined): OwnHeaders {
  const own: OwnHeaders = { key: undefined, distance: 0, parts: 0, expiresAtMs: undefined, isDeleted: false };
  for (const [name, [value = ""]] of headers ?? []) {
    if (name === EXPIRES) own.expiresAtMs = Number(value);
    else if (name === DISTANCE) own.distance = Number(value);
    else if (name === PARTS) own.parts = Number(value);
    else if (name === PART_OF) own.partOf = value;
    else if (name === KEY) own.key = fromUtf8(Buffer.from(value, "base64"));
    else if (name === DELETED) own.isDeleted = true;
    // nats-server's own marker for a message that it removed has a reason.
    else if (name === "Nats-Marker-Reason") own.isDeleted = own.isMarker = true;
  }
  return own;
}

/** Whether the entry has expired, and nobody has removed it yet. */
export const isOverdue = (
  { isDeleted, expiresAtMs }: Pick<StoredEntry, "isDeleted" | "expiresAtMs">,
  nowMs: number,
): boolean => !isDeleted && expiresAtMs !== undefined && expiresAtMs <= nowMs;

/** Whether the key has this entry at `nowMs`, rather than none. */
export function isPresent(
  { isDeleted, expiresAtMs }: Pick<StoredEntry, "isDeleted" | "expiresAtMs">,
  nowMs: number,
): boolean {
  return !isDeleted && (expiresAtMs === undefined || expiresAtMs > nowMs);
}

/** The entry of the port; undefined if it is deleted or has expired. */
export function presentEntry(stored: StoredEntry | undefined, nowMs: number): Entry | undefined {
  return stored && isPresent(stored, nowMs) ? asEntry(stored) : undefined;
}

/** The entry of the port, without regard to its expiry. */
export function asEntry({ key = "", value, version, expiresAtMs }: StoredEntry): Entry {
  return expiresAtMs === undefined ? { key, value, version } : { key, value, version, expiresAtMs };
}
