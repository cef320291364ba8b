import { fromUtf8 } from "../../src/lib/utf8.js";
import { COPY_KEY } from "../../src/server/services/map/copies.js";
import {
  decodePartition,
  decodeSession,
  electionSubject,
  groupPrefix,
} from "../../src/server/services/map/election/records.js";
import type { ServerNode } from "./world/server-node.js";
import type { World } from "./world.js";

const GROUP = "/default";

/** A partition as the engine that elects knows it. */
interface PartitionState {
  /** The server that leads it, if its session has not ended and its process runs. */
  readonly primary: ServerNode | undefined;
  /** The servers that have a copy that is in sync, and still have its data. */
  readonly holders: readonly ServerNode[];
}

export interface GroupState {
  readonly partitions: readonly PartitionState[];
}

/** Reads what has been elected. It takes no virtual time. */
export async function readGroup({ engine, nodes }: World): Promise<GroupState> {
  const copies = new Map<string, ServerNode>();
  for (const node of nodes) {
    const copy = await node.store.keys.get(COPY_KEY);
    if (copy) copies.set(fromUtf8(copy.value), node);
  }
  const live = new Set<string>();
  const partitions: PartitionState[] = [];
  const records: ReturnType<typeof decodePartition>[] = [];
  for await (const { key, value } of engine.keys.list(groupPrefix(GROUP))) {
    const subject = electionSubject(GROUP, key);
    if (subject?.type === "partition") records.push(decodePartition(value));
    else if (subject && decodeSession(value).state !== "ended") live.add(subject.id);
  }
  for (const { leader, url, inSync } of records) {
    const node = nodes.find(({ options }) => options.url === url);
    const holders = inSync.map((copy) => copies.get(copy)).filter((holder) => holder !== undefined);
    partitions.push({ primary: node?.machine.isUp && live.has(leader) ? node : undefined, holders });
  }
  return { partitions };
}
