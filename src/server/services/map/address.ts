import { create } from "@bufbuild/protobuf";
import { type RequestHeader, RequestHeaderSchema } from "../../../../gen/atomix/pb/headers/headers_pb.js";
import { keyOf, keyPrefix } from "../shared/keyspace.js";

/** One partition of one map: its name on the wire and its keys in the engine. */
export interface Address {
  readonly header: RequestHeader;
  /** The name of its group in the configuration: "<namespace>/<name>". */
  readonly group: string;
  /** The key of the partition's record: a `Digest` with the highest term and the highest timestamp that it has seen. */
  readonly recordKey: string;
  /** The prefix of the keys of its entries; the map's own key follows. */
  readonly entriesPrefix: string;
}

/** The key of the number of all partitions, whose limit applies across the servers on one engine. */
export const COUNT_KEY = keyOf("map", "count");

/** The prefix of the partitions' records. */
export const RECORD_PREFIX = keyPrefix("map", "partition");

/** The partition in a request's header, which was validated. */
export function addressOf(header: RequestHeader | undefined): Address {
  return address([
    header?.protocol?.namespace ?? "",
    header?.protocol?.name ?? "",
    header?.primitive?.namespace ?? "",
    header?.primitive?.name ?? "",
    String(header?.partition ?? 0),
  ]);
}

/** The partition of the record at `recordKey`. */
export function addressAt(recordKey: string): Address {
  return address(recordKey.slice(RECORD_PREFIX.length).split("\0"));
}

function address(parts: string[]): Address {
  const [groupNamespace = "", groupName = "", namespace = "", name = "", partition = ""] = parts;
  return {
    header: create(RequestHeaderSchema, {
      protocol: { namespace: groupNamespace, name: groupName },
      primitive: { namespace, name },
      partition: Number(partition),
    }),
    group: `${groupNamespace}/${groupName}`,
    recordKey: keyOf("map", "partition", ...parts),
    entriesPrefix: keyPrefix("map", "entry", ...parts),
  };
}

/** The fields of log lines about a partition. */
export const addressFacts = ({ group, header }: Address) => ({
  group,
  map: header.primitive?.name,
  partition: header.partition,
});
