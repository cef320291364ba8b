import type { BackupRequest, Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import type { Draft } from "./draft.js";
import { entrySize, highest, isEntryTombstone, isNewer, termOf, timestampOf } from "./entry.js";
import type { PartitionOperation } from "./partition.js";

/**
 * How long a backup keeps a tombstone. Streams of one primary can overlap for seconds, in which an older write of the
 * key can arrive. The rest is for a backup that returns after a change of the primary, with entries that were deleted
 * while it was away: within this time the new primary still has the tombstone.
 */
const TOMBSTONE_MS = 7 * 24 * 3_600_000;

/** Stores the entries of a primary of `term` that are newer than the present ones. */
export function takeNewer(draft: Draft, entries: readonly Entry[], term: bigint): void {
  for (const entry of entries) {
    const present = draft.get(entry.key);
    if (!present || isNewer(entry, present))
      draft.set(entry, isEntryTombstone(entry) ? TOMBSTONE_MS : undefined);
  }
  draft.raise(term, highest(entries.map(timestampOf)));
}

/**
 * Applies every entry that is newer than the present one. The result is false, and nothing is applied, if the term of
 * the request is older than that of the partition, or not newer than `own`, this server's term as primary.
 */
export function backupOperation(
  { entries }: BackupRequest,
  own: bigint | undefined,
): PartitionOperation<boolean> {
  const term = highest(entries.map(termOf));
  return {
    keys: entries.map(({ key }) => key),
    bytes: entries.reduce((bytes, entry) => bytes + entrySize(entry), 0),
    apply(draft) {
      if (entries.length === 0) return true;
      if (term < draft.term || (own !== undefined && term <= own)) return false;
      takeNewer(draft, entries, term);
      return true;
    },
  };
}
