import { create } from "@bufbuild/protobuf";
import { type RequestHeader, RequestHeaderSchema } from "../../../../gen/atomix/pb/headers/headers_pb.js";
import { keyOf, keyPrefix } from "../shared/keyspace.js";

/** One partition of one map: what names it on the wire, and where it is in the engine. */
export interface Address {
  readonly header: RequestHeader;
  /** What the configuration calls its group: "<namespace>/<name>". */
  readonly group: string;
  /** Where the partition's high-water mark is: the highest term and the highest timestamp seen, a `Digest`. */
  readonly recordKey: string;
  /** What the keys of its entries begin with; the map's own key follows. */
  readonly entriesPrefix: string;
}

/** Where the number of all partitions is kept, so that their limit holds across servers that share an engine. */
export const COUNT_KEY = keyOf("map", "count");

/** The prefix of every partition's record. */
export const RECORD_PREFIX = keyPrefix("map", "partition");

/** The partition that a request names. The guard has seen to it that nothing is missing. */
export function addressOf(header: RequestHeader | undefined): Address {
  return address([
    header?.protocol?.namespace ?? "",
    header?.protocol?.name ?? "",
    header?.primitive?.namespace ?? "",
    header?.primitive?.name ?? "",
    String(header?.partition ?? 0),
  ]);
}

/** The partition whose record is at `recordKey`. */
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

/** A partition as log lines name it. */
export const addressFacts = ({ group, header }: Address) => ({
  group,
  map: header.primitive?.name,
  partition: header.partition,
});
