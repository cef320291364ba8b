import type { BackupRequest } from "../../../../gen/atomix/pb/map/map_pb.js";
import { entrySize, highest, isEntryTombstone, isNewer, termOf, timestampOf } from "./entry.js";
import type { PartitionOperation } from "./partition.js";

/**
 * How long a backup remembers a deletion. An older write of the same key cannot come later than the streams of one
 * primary overlap, seconds; the rest is for a backup that comes back, after a change of the primary, with entries
 * that were deleted while it was away: within this time the new primary still knows of the deletion.
 */
const TOMBSTONE_MS = 7 * 24 * 3_600_000;

/**
 * Takes over every entry that is newer than what is there, and results in true; in false, and nothing is done, where
 * the request is of an older term than the partition has seen, or than this server's `own` as its primary.
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
      for (const entry of entries) {
        const present = draft.get(entry.key);
        if (!present || isNewer(entry, present))
          draft.set(entry, isEntryTombstone(entry) ? TOMBSTONE_MS : undefined);
      }
      draft.raise(term, highest(entries.map(timestampOf)));
      return true;
    },
  };
}
