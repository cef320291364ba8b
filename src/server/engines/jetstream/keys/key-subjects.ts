import { createHash } from "node:crypto";
import { utf8Length } from "../../../../lib/utf8.js";
import { decodeToken, encodeToken } from "../subjects.js";

/** The parts of a key before its first NULs that are tokens of their own, by which the server filters. */
const FILTER_PARTS = 2;

/** A longer part is no token of its own. nats-server takes lines of up to 4096 bytes. */
const MAX_PART_CHARS = 400;

/** A longer last token is replaced by its beginning and a hash of the key. */
const MAX_REST_CHARS = 1400;

/** The characters of a replaced token that are kept, so that subjects sort nearly as the keys do. */
const KEPT_CHARS = 1000;

/** Separates what is kept of a replaced token from the hash. It sorts after all other characters. */
const HASH_MARK = "~";

/** The subject of a key: `isHashed` if the subject does not give back the key. */
export interface KeySubject {
  subject: string;
  isHashed: boolean;
}

/**
 * The subject of `key` below `root`, which ends with a dot. The parts before the first two NULs are tokens, and so is the
 * rest. Subjects sort as keys, if sortKey() is applied.
 */
export function subjectOfKey(root: string, key: string): KeySubject {
  const { tokens, rest } = splitKey(key);
  let last = encodeToken(rest);
  const isHashed = last.length > MAX_REST_CHARS;
  if (isHashed) {
    const hash = createHash("sha256").update(key).digest("base64url");
    last = last.slice(0, KEPT_CHARS) + HASH_MARK + hash;
  }
  return { subject: root + [...tokens, last].join("."), isHashed };
}

/** The key of a subject below `root`; undefined if the subject has a hash of it. */
export function keyOfSubject(root: string, subject: string): string | undefined {
  if (subject.includes(HASH_MARK)) return undefined;
  return subject.slice(root.length).split(".").map(decodeToken).join("\0");
}

/** A filter for subjects below `root` that matches all keys under `prefix`, and perhaps others. */
export const filterOfPrefix = (root: string, prefix: string): string => `${tokensOf(root, prefix)}>`;

/** All filters of filterOfPrefix() that match a subject of subjectOfKey(). */
export function filtersOfSubject(root: string, subject: string): string[] {
  const filters = [`${root}>`];
  for (let dot = subject.indexOf(".", root.length); dot > 0; dot = subject.indexOf(".", dot + 1)) {
    filters.push(`${subject.slice(0, dot + 1)}>`);
  }
  return filters;
}

/** The prefix of the subjects of all keys under `prefix`. Subjects of other keys may have it too. */
export function subjectStart(root: string, prefix: string): string {
  const { rest } = splitKey(prefix);
  // A character stands for six bits: the last one also depends on what comes after the prefix.
  const whole = Math.floor((utf8Length(rest) * 8) / 6);
  return tokensOf(root, prefix) + encodeToken(rest).slice(0, 1 + Math.min(whole, KEPT_CHARS - 1));
}

const tokensOf = (root: string, prefix: string): string =>
  splitKey(prefix).tokens.reduce((all, token) => `${all}${token}.`, root);

/** A text by which subjects sort as their keys: a dot comes before all characters of a token. */
export const sortKey = (subject: string): string => subject.replaceAll(".", " ");

/** The subject of a sort key. */
export const subjectOfSortKey = (key: string): string => key.replaceAll(" ", ".");

/** The beginning that keys with hashes share; undefined for subjects that no hashed one can be mixed with. */
export function hashedGroup(subject: string): string | undefined {
  const start = subject.lastIndexOf(".") + 1;
  return subject.length - start > KEPT_CHARS ? subject.slice(0, start + KEPT_CHARS) : undefined;
}

/** The leading parts that are tokens of their own, and what comes after them. */
function splitKey(key: string): { tokens: string[]; rest: string } {
  const tokens: string[] = [];
  let rest = key;
  while (tokens.length < FILTER_PARTS) {
    const end = rest.indexOf("\0");
    if (end < 0 || end > MAX_PART_CHARS) break;
    const token = encodeToken(rest.slice(0, end));
    if (token.length > MAX_PART_CHARS) break;
    tokens.push(token);
    rest = rest.slice(end + 1);
  }
  return { tokens, rest };
}
