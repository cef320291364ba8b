import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { type RequestHeader, ResponseStatus } from "../../../gen/atomix/pb/headers/headers_pb.js";
import { type MapService, ValueSchema } from "../../../gen/atomix/pb/map/map_pb.js";
import { abortable } from "../../rpc/abortable.js";
import { IF_ABSENT_HEADER, MAP_COPY_HEADER } from "../../rpc/extension-headers.js";
import type { ServiceContext } from "../context.js";
import { invalid } from "../errors.js";
import { addressOf } from "./map/address.js";
import type { PartitionOperation } from "./map/partition.js";
import { Partitions } from "./map/partitions.js";
import { type Condition, type LeadershipAt, putOperation, removeOperation } from "./map/write.js";
import { fenceChecks } from "./shared/fence.js";

/**
 * The map RPCs: versioned entries in partitions. Each partition has its own counter, which is written in the same
 * commit as the entries. Put, Get and Remove are for the partition's primary; a primary calls Backup on its backups.
 */
export function mapService(context: ServiceContext): ServiceImpl<typeof MapService> {
  const partitions = new Partitions(context);

  const write = async <T>(
    header: RequestHeader | undefined,
    { requestHeader, signal }: Pick<HandlerContext, "requestHeader" | "signal">,
    operation: (leadershipAt: LeadershipAt) => PartitionOperation<T>,
  ): Promise<T> => {
    const fences = fenceChecks(requestHeader, context.components);
    return partitions.write(addressOf(header), signal, (leadershipAt) => ({
      ...operation(leadershipAt),
      fences,
      signal,
    }));
  };

  return {
    async put({ header, key, value = create(ValueSchema) }, call) {
      const condition = ifAbsent(call.requestHeader, value.version) ?? ifVersion(value.version);
      const version = await write(header, call, (leading) => putOperation(key, value, condition, leading));
      return { header: {}, version };
    },

    async get({ header, key }, { signal }) {
      const value = (await partitions.read(addressOf(header), key, signal))?.value;
      return { header: {}, ...(value && { value }) };
    },

    async remove({ header, key, value }, call) {
      const condition = ifVersion(value?.version ?? 0n);
      const removed = await write(header, call, (leading) => removeOperation(key, condition, leading));
      return { header: {}, ...(removed && { value: removed }) };
    },

    async *backup(requests, { requestHeader, signal }) {
      const copy = requestHeader.get(MAP_COPY_HEADER);
      const incoming = requests[Symbol.asyncIterator]();
      const next = () => abortable(incoming.next(), signal);
      for (let part = await next(); !part.done; part = await next()) {
        const applied = await partitions.backUp(part.value, copy);
        yield { header: { status: applied ? ResponseStatus.OK : ResponseStatus.ERROR } };
      }
    },
  };
}

const ifVersion = (version: bigint): Condition => (version > 0n ? version : undefined);

function ifAbsent(header: Headers, version: bigint): Condition {
  const text = header.get(IF_ABSENT_HEADER);
  if (text === null || text === "false") return undefined;
  if (text !== "true") throw invalid(IF_ABSENT_HEADER, text, 'must be "true" or "false"');
  if (version > 0n) throw invalid("value.version", version, `must be 0 beside ${IF_ABSENT_HEADER}`);
  return "absent";
}
