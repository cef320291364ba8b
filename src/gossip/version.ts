import type { Digest, MapValue } from "../../gen/atomix/map/map_pb.js";
import { compareBytes, compareTimestamps } from "./clock.js";

const NONE = new Uint8Array();

/**
 * Positive if `a` is the newer version, negative if `b` is: the later timestamp, then a tombstone before a value. 0 if
 * the versions are the same.
 */
export function compareDigests(a: Digest | undefined, b: Digest | undefined): number {
  const byTime = compareTimestamps(a?.timestamp ?? NONE, b?.timestamp ?? NONE);
  return byTime || Number(a?.tombstone ?? false) - Number(b?.tombstone ?? false);
}

/** The total order of the entries of a key: the greater one wins on every member. 0 only for equal entries. */
export function compareValues(a: MapValue, b: MapValue): number {
  const byVersion = compareDigests(a.digest, b.digest);
  if (byVersion !== 0 || isTombstone(a)) return byVersion;
  return compareBytes(a.value, b.value);
}

/** Whether the entry records that the key was removed. */
export const isTombstone = (value: MapValue): boolean => value.digest?.tombstone ?? false;

/** Whether different values may have this version: its writer adds no member id to the clock. */
export const isAmbiguous = ({ timestamp, tombstone }: Digest): boolean => !tombstone && timestamp.length <= 8;

/** Whether `theirs` may be `own` as a peer sends it that keeps only the clock of a timestamp. */
export const isTruncatedVersion = (theirs: Digest, own: Digest | undefined): boolean =>
  theirs.timestamp.length === 8 &&
  theirs.tombstone === own?.tombstone &&
  compareBytes(theirs.timestamp, own.timestamp.subarray(0, 8)) === 0;

/** As isTruncatedVersion(), for whole entries. */
export const isTruncatedCopy = (theirs: MapValue, own: MapValue): boolean =>
  theirs.digest !== undefined &&
  isTruncatedVersion(theirs.digest, own.digest) &&
  compareBytes(theirs.value, own.value) === 0;
