import { createHash } from "node:crypto";
import type { StreamMessage } from "../message.js";
import { internalPrefix } from "../streams.js";
import { type KeySnapshot, partHeaders, type StoredEntry } from "./stored-entry.js";

/** The bytes of a message for its subject and headers, which count for max_payload too. */
const OVERHEAD_BYTES = 8192;

/** The prefix of the subjects of the parts of large values, with a dot at the end. */
export const partsPrefix = (engine: string): string => `${internalPrefix(engine)}p.`;

/** The subjects of the first `count` parts of the value at a key's subject. */
function subjectsOfParts(engine: string, subject: string, count: number): string[] {
  const hash = createHash("sha256").update(subject).digest("base64url");
  return Array.from({ length: count }, (_, i) => `${partsPrefix(engine)}${hash}.${i}`);
}

/** The subjects of all parts of the values of `entries`. */
export function partSubjects(engine: string, entries: Iterable<StoredEntry>): string[] {
  const subjects: string[] = [];
  for (const { subject, parts } of entries) {
    if (parts > 0) subjects.push(...subjectsOfParts(engine, subject, parts));
  }
  return subjects;
}

/**
 * Splits a value that does not fit in one message: the messages of all parts but the last, and the last part, which the
 * entry's own message has. All are written in one commit, so that they are always of the same value.
 */
export function splitValue(
  engine: string,
  subject: string,
  value: Uint8Array,
  { maxPayload, expiresAtMs, nowMs }: { maxPayload: number; expiresAtMs: number | undefined; nowMs: number },
): { parts: StreamMessage[]; last: Uint8Array } {
  const most = Math.max(1, maxPayload - OVERHEAD_BYTES);
  if (value.length <= most) return { parts: [], last: value };
  const count = Math.ceil(value.length / most) - 1;
  const headers = partHeaders(subject, expiresAtMs, nowMs);
  const parts = subjectsOfParts(engine, subject, count).map((partSubject, i) => {
    return { subject: partSubject, data: value.subarray(i * most, (i + 1) * most), headers };
  });
  return { parts, last: value.subarray(count * most) };
}

/** The snapshot with whole values, if it has all parts. */
export function joinParts(engine: string, { entries, sequence }: KeySnapshot): KeySnapshot {
  const joined = new Map(entries);
  for (const entry of entries.values()) {
    if (entry.parts === 0) continue;
    const parts = subjectsOfParts(engine, entry.subject, entry.parts).map((subject) => entries.get(subject));
    // The parts of an expired value may be removed before their entry.
    if (parts.some((part) => part === undefined || part.isDeleted)) {
      joined.set(entry.subject, { ...entry, isDeleted: true });
      continue;
    }
    const value = new Uint8Array(
      Buffer.concat([...parts.map((part) => part?.value ?? NOTHING), entry.value]),
    );
    joined.set(entry.subject, { ...entry, value });
  }
  return { entries: joined, sequence };
}

const NOTHING = new Uint8Array(0);
