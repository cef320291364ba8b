import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import {
  type RequestHeader,
  type RequestHeaderSchema,
  ResponseStatus,
} from "../../../gen/atomix/pb/headers/headers_pb.js";
import { type EntrySchema, MapService, type Value } from "../../../gen/atomix/pb/map/map_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { CaseContext } from "../case-context.js";

export const { OK, ERROR } = ResponseStatus;

type Header = Exclude<MessageInitShape<typeof RequestHeaderSchema>, RequestHeader>;
export type BackupEntry = MessageInitShape<typeof EntrySchema>;
type RequestHeaders = Record<string, string>;

/** The map RPCs on a map that belongs to the case. Its keys are removed at the end. */
export interface MapCalls extends CaseContext {
  readonly maps: Client<typeof MapService>;
  readonly header: Header;
  /** The header of the map in a group of which the server is a backup. Needs "backup group". */
  readonly backupHeader: Header;
  /** The header of the map in a group of which the server is the primary, and the term. Needs "led group". */
  readonly ledHeader: Header;
  readonly ledTerm: number;
  /** Puts and returns the new version. */
  put(
    key: string,
    value: string,
    options?: { version?: bigint; headers?: RequestHeaders; at?: Header },
  ): Promise<bigint>;
  get(key: string, at?: Header): Promise<{ text: string; version: bigint } | undefined>;
  remove(
    key: string,
    options?: { version?: bigint; headers?: RequestHeaders; at?: Header },
  ): Promise<{ text: string; version: bigint } | undefined>;
  /** Sends `requests` in one Backup stream, and returns the statuses of the responses. */
  backup(header: Header, ...requests: BackupEntry[][]): Promise<(ResponseStatus | undefined)[]>;
}

export function mapCalls(context: CaseContext): MapCalls {
  const maps = context.client(MapService);
  const header = {
    protocol: { namespace: "", name: "default" },
    primitive: { namespace: "", name: context.own("m") },
    partition: 1,
  };
  const { backupGroup, ledGroup } = context.stores;
  const grouped = ({ namespace = "", name = "" } = {}) => ({ ...header, protocol: { namespace, name } });
  const read = (value: Value | undefined) => value && { text: fromUtf8(value.value), version: value.version };
  const used = new Map<string, { header: Header; key: string }>();
  context.after(() => Promise.all([...used.values()].map((place) => maps.remove(place))));
  return {
    ...context,
    maps,
    header,
    backupHeader: grouped(backupGroup),
    ledHeader: grouped(ledGroup),
    ledTerm: ledGroup?.term ?? 1,
    async put(key, value, { version = 0n, headers = {}, at = header } = {}) {
      used.set(JSON.stringify([at, key]), { header: at, key });
      const request = { header: at, key, value: { value: utf8(value), version } };
      return (await maps.put(request, { headers })).version;
    },
    get: async (key, at = header) => read((await maps.get({ header: at, key })).value),
    async remove(key, { version = 0n, headers = {}, at = header } = {}) {
      return read((await maps.remove({ header: at, key, value: { version } }, { headers })).value);
    },
    async backup(header, ...requests) {
      const stream = async function* () {
        for (const entries of requests) yield { header, entries };
      };
      const statuses: (ResponseStatus | undefined)[] = [];
      for await (const answer of maps.backup(stream())) statuses.push(answer.header?.status);
      return statuses;
    },
  };
}

/** An entry of a Backup request. Without a value it deletes. */
export function entryOf(key: string, [term, timestamp]: [number, number], value?: string): BackupEntry {
  const version = BigInt(timestamp);
  return {
    key,
    digest: { term: BigInt(term), timestamp: version },
    ...(value !== undefined && { value: { value: utf8(value), version } }),
  };
}
