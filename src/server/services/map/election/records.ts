import { fromUtf8, utf8 } from "../../../../lib/utf8.js";
import { keyOf, keyPrefix } from "../../shared/keyspace.js";
import type { Address } from "../address.js";

/** The membership of a server in a group, as the electing engine keeps it. */
export interface SessionRecord {
  /** The server's own URL. */
  url: string;
  /** The id of the server's copy of the entries. */
  copy: string;
  /** How long others wait for the next renewal before they end the session. */
  leaseMs: number;
  /** "draining": it should not become the primary of anything. "ended": for ever. */
  state: "live" | "draining" | "ended";
}

/** Who leads a partition, as the electing engine keeps it. */
export interface PartitionRecord {
  /** Grows with each grant. */
  term: bigint;
  /** The session of the leader. */
  leader: string;
  /** The URL of the leader. */
  url: string;
  /** The lease of the leader's session. */
  leaseMs: number;
  /** The copies that have every acknowledged write. */
  inSync: readonly string[];
}

/** The keys of a group in the electing engine. */
export const groupPrefix = (group: string): string => keyPrefix("map-election", group);

const SESSION = "session\0";
const PARTITION = "partition\0";

export const sessionKey = (group: string, id: string): string =>
  keyOf("map-election", group, `${SESSION}${id}`);

export const partitionKey = ({ group, recordKey }: Pick<Address, "group" | "recordKey">): string =>
  keyOf("map-election", group, `${PARTITION}${recordKey}`);

/** The session's id, or the partition's record key in the servers' own engines, that `key` of the group stands for. */
export function electionSubject(
  group: string,
  key: string,
): { type: "session" | "partition"; id: string } | undefined {
  const rest = key.slice(groupPrefix(group).length);
  if (rest.startsWith(SESSION)) return { type: "session", id: rest.slice(SESSION.length) };
  if (rest.startsWith(PARTITION)) return { type: "partition", id: rest.slice(PARTITION.length) };
  return undefined;
}

export const encodeSession = (record: SessionRecord): Uint8Array => utf8(JSON.stringify(record));

export const decodeSession = (bytes: Uint8Array): SessionRecord => JSON.parse(fromUtf8(bytes));

export const encodePartition = ({ term, ...record }: PartitionRecord): Uint8Array =>
  utf8(JSON.stringify({ term: String(term), ...record }));

export function decodePartition(bytes: Uint8Array): PartitionRecord {
  const { term, ...record } = JSON.parse(fromUtf8(bytes)) as PartitionRecord & { term: string };
  return { ...record, term: BigInt(term) };
}
