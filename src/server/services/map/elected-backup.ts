import type { Entry } from "../../../../gen/atomix/pb/map/map_pb.js";
import { compareUtf8 } from "../../../lib/compare-utf8.js";
import type { KeyStore } from "../../engine.js";
import type { Address } from "./address.js";
import { takeNewer } from "./backup.js";
import type { ComparedRange, Control } from "./control.js";
import { decodeEntry, entrySize, isLive, termOf, timestampOf } from "./entry.js";
import type { Partition, PartitionOperation } from "./partition.js";

/** How many entries one commit drops. */
const DROPPED_AT_ONCE = 256;

interface ElectedBackup {
  keys: KeyStore;
  partition: Pick<Partition, "run">;
  address: Address;
  control: Control;
  entries: readonly Entry[];
}

/**
 * Applies a request of a primary that was elected. Returns false, and applies nothing, if the copy has seen a later
 * term.
 */
export async function backUpElected({
  keys,
  partition,
  address,
  control,
  entries,
}: ElectedBackup): Promise<boolean> {
  if (!(await partition.run(takeOperation(entries, control.term)))) return false;
  if (!control.range) return true;
  const sent = new Set(entries.map(({ key }) => key));
  let stale: string[] = [];
  for await (const key of keysIn(keys, address, control.range)) {
    if (!sent.has(key)) stale.push(key);
    if (stale.length < DROPPED_AT_ONCE) continue;
    if (!(await partition.run(dropOperation(stale, control.term, control.range)))) return false;
    stale = [];
  }
  return stale.length === 0 || partition.run(dropOperation(stale, control.term, control.range));
}

/** Takes every entry that is newer than the present one. */
function takeOperation(entries: readonly Entry[], term: bigint): PartitionOperation<boolean> {
  return {
    keys: entries.map(({ key }) => key),
    bytes: entries.reduce((bytes, entry) => bytes + entrySize(entry), 0),
    apply(draft) {
      if (term < draft.term) return false;
      takeNewer(draft, entries, term);
      return true;
    },
  };
}

/** Drops the entries at `keys` that the primary does not have: a deposed one wrote them, or they were deleted. */
function dropOperation(
  keys: readonly string[],
  term: bigint,
  { upTo }: ComparedRange,
): PartitionOperation<boolean> {
  return {
    keys,
    apply(draft) {
      if (term < draft.term) return false;
      for (const key of keys) {
        const present = draft.get(key);
        if (!isLive(present)) continue;
        if (termOf(present) < term || timestampOf(present) <= upTo) draft.drop(key);
      }
      return true;
    },
  };
}

/** The keys of the copy's entries in the range. */
async function* keysIn(
  keys: KeyStore,
  { entriesPrefix }: Address,
  { after, through }: ComparedRange,
): AsyncGenerator<string, void, undefined> {
  const start = after === undefined ? undefined : entriesPrefix + after;
  for await (const { value } of keys.list(entriesPrefix, start)) {
    const { key } = decodeEntry(value);
    if (through !== undefined && compareUtf8(key, through) > 0) return;
    yield key;
  }
}
