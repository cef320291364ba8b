import type { Digest, MapValue } from "../../gen/atomix/map/map_pb.js";
import { compareBytes, compareTimestamps } from "./clock.js";

const NONE = new Uint8Array();

/**
 * Above 0 where `a` is the newer version, below 0 where `b` is: the later timestamp, then a tombstone over a value.
 * 0 where the versions tell no difference.
 */
export function compareDigests(a: Digest | undefined, b: Digest | undefined): number {
  const byTime = compareTimestamps(a?.timestamp ?? NONE, b?.timestamp ?? NONE);
  return byTime || Number(a?.tombstone ?? false) - Number(b?.tombstone ?? false);
}

/** The total order that decides which of two entries of a key stays, the same on every member: 0 only for equals. */
export function compareValues(a: MapValue, b: MapValue): number {
  const byVersion = compareDigests(a.digest, b.digest);
  if (byVersion !== 0 || isTombstone(a)) return byVersion;
  return compareBytes(a.value, b.value);
}

/** Whether the entry says that the key was removed. */
export const isTombstone = (value: MapValue): boolean => value.digest?.tombstone ?? false;

/** The entry where it has a value; undefined for a tombstone, and for none. */
export const live = (value: MapValue | undefined): MapValue | undefined =>
  value && !isTombstone(value) ? value : undefined;

/** Whether different values may carry this version: a peer wrote it that puts no member id behind the clock. */
export const mayBeShared = ({ timestamp, tombstone }: Digest): boolean => !tombstone && timestamp.length <= 8;

/** Whether `theirs` may be `own` as a peer tells it that keeps the clock alone of what it was sent. */
export const isCutVersion = (theirs: Digest, own: Digest | undefined): boolean =>
  theirs.timestamp.length === 8 &&
  theirs.tombstone === own?.tombstone &&
  compareBytes(theirs.timestamp, own.timestamp.subarray(0, 8)) === 0;

/** The same of whole entries. */
export const isCutCopy = (theirs: MapValue, own: MapValue): boolean =>
  theirs.digest !== undefined &&
  isCutVersion(theirs.digest, own.digest) &&
  compareBytes(theirs.value, own.value) === 0;
