import { create } from "@bufbuild/protobuf";
import { EntrySchema, type Value } from "../../../../gen/atomix/pb/map/map_pb.js";
import { quote } from "../../../lib/quote.js";
import { conflict } from "../../errors.js";
import type { Draft } from "./draft.js";
import { entrySize, type LiveEntry } from "./entry.js";
import type { Leadership } from "./group.js";
import type { PartitionOperation } from "./partition.js";

/** What a write asks of the entry that it finds: this version, "absent", or nothing. */
export type Condition = bigint | "absent" | undefined;

/** As what the server writes, given the highest term that the partition has seen; see leadOf(). */
export type LeadershipAt = (seen: bigint) => Leadership;

/** Writes the entry and results in its version. */
export function putOperation(
  key: string,
  value: Value,
  condition: Condition,
  leading: LeadershipAt,
): PartitionOperation<bigint> {
  return {
    keys: [key],
    bytes: entrySize({ key, value }),
    apply(draft) {
      const lead = leading(draft.term);
      check(key, draft.live(key), condition);
      const digest = draft.next(lead);
      const { timestamp } = digest;
      // What else the client's message holds is kept: fields that a later version of the API may have.
      const entry = create(EntrySchema, { key, digest, value: { ...value, version: timestamp } });
      draft.set(entry);
      draft.tell(entry);
      return timestamp;
    },
  };
}

/** Removes the entry and results in what it was; a missing one stays missing. */
export function removeOperation(
  key: string,
  condition: Condition,
  leading: LeadershipAt,
): PartitionOperation<Value | undefined> {
  return {
    keys: [key],
    apply(draft) {
      const lead = leading(draft.term);
      const present = draft.live(key);
      check(key, present, condition);
      if (present) remove(draft, key, lead);
      return present?.value;
    },
  };
}

function remove(draft: Draft, key: string, lead: Leadership): void {
  const tombstone = create(EntrySchema, { key, digest: draft.next(lead) });
  if (lead.remembers) draft.set(tombstone);
  else draft.drop(key);
  draft.tell(tombstone);
}

function check(key: string, present: LiveEntry | undefined, condition: Condition): void {
  const version = present?.value.version ?? 0n;
  const holds = condition === "absent" ? !present : condition === undefined || version === condition;
  if (holds) return;
  const wanted = condition === "absent" ? "it must be absent" : `version ${condition} was asked for`;
  const found = present ? `its version is ${version}` : "it does not exist";
  throw conflict(`map entry ${quote(key)}: ${wanted} and ${found}`, { key, version: String(version) });
}
