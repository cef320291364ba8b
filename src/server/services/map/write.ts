import { create } from "@bufbuild/protobuf";
import { EntrySchema, type Value } from "../../../../gen/atomix/pb/map/map_pb.js";
import { quote } from "../../../lib/quote.js";
import { conflict } from "../../errors.js";
import type { Draft } from "./draft.js";
import { entrySize, type LiveEntry } from "./entry.js";
import type { Leadership } from "./group.js";
import type { PartitionOperation } from "./partition.js";

/** A write's condition on the present entry: its version, "absent", or none. */
export type Condition = bigint | "absent" | undefined;

/** The server's leadership, given the highest term that the partition has seen; see leadershipOf(). */
export type LeadershipAt = (seenTerm: bigint) => Leadership;

/** Writes the entry. The result is its version. */
export function putOperation(
  key: string,
  value: Value,
  condition: Condition,
  leadershipAt: LeadershipAt,
): PartitionOperation<bigint> {
  return {
    keys: [key],
    bytes: entrySize({ key, value }),
    apply(draft) {
      const leadership = leadershipAt(draft.term);
      check(key, draft.live(key), condition);
      const digest = draft.nextDigest(leadership);
      const { timestamp } = digest;
      // Other fields of the client's message are kept, as a later version of the API may add some.
      const entry = create(EntrySchema, { key, digest, value: { ...value, version: timestamp } });
      draft.set(entry);
      draft.replicate(entry);
      return timestamp;
    },
  };
}

/** Removes the entry. The result is its value; undefined if it was missing. */
export function removeOperation(
  key: string,
  condition: Condition,
  leadershipAt: LeadershipAt,
): PartitionOperation<Value | undefined> {
  return {
    keys: [key],
    apply(draft) {
      const leadership = leadershipAt(draft.term);
      const present = draft.live(key);
      check(key, present, condition);
      if (present) remove(draft, key, leadership);
      return present?.value;
    },
  };
}

function remove(draft: Draft, key: string, leadership: Leadership): void {
  const tombstone = create(EntrySchema, { key, digest: draft.nextDigest(leadership) });
  if (leadership.keepsTombstones) draft.set(tombstone);
  else draft.drop(key);
  draft.replicate(tombstone);
}

function check(key: string, present: LiveEntry | undefined, condition: Condition): void {
  const version = present?.value.version ?? 0n;
  const holds = condition === "absent" ? !present : condition === undefined || version === condition;
  if (holds) return;
  const wanted = condition === "absent" ? "it must be absent" : `version ${condition} was asked for`;
  const found = present ? `its version is ${version}` : "it does not exist";
  throw conflict(`map entry ${quote(key)}: ${wanted} and ${found}`, { key, version: String(version) });
}
