import type { Client, Transport } from "@connectrpc/connect";
import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import {
  FIRST_OFFSET_TRAILER,
  FOLLOW_HEADER,
  LAST_OFFSET_TRAILER,
  LOG_HEADER,
} from "../../rpc/extension-headers.js";
import type { CaseContext } from "../case-context.js";

type RequestHeaders = Record<string, string>;

/** The log RPCs on logs that belong to the case. The default log is "l". */
export interface LogCalls extends CaseContext {
  readonly logs: Client<typeof LogService>;
  /** The header that names the case's log. */
  log(name?: string): RequestHeaders;
  /** Appends, and returns the first and the last offset of the trailers. */
  produce(
    values: Iterable<string> | AsyncIterable<string>,
    headers?: RequestHeaders,
  ): Promise<(string | null)[]>;
  /** Reads records as "offset value": `count` of them, or all up to the end of the log. */
  consume(offset: bigint, headers?: RequestHeaders, count?: number, transport?: Transport): Promise<string[]>;
}

export function logCalls(context: CaseContext): LogCalls {
  const client = context.client(LogService);
  const log = (name = "l") => ({ [LOG_HEADER]: encodeURIComponent(context.own(name)) });
  return {
    ...context,
    logs: client,
    log,
    async produce(values, headers = {}) {
      let trailer = new Headers();
      const requests = async function* () {
        for await (const value of values) yield { value: utf8(value) };
      };
      const onTrailer = (trailers: Headers) => {
        trailer = trailers;
      };
      await client.produce(requests(), { headers: { ...log(), ...headers }, onTrailer });
      return [trailer.get(FIRST_OFFSET_TRAILER), trailer.get(LAST_OFFSET_TRAILER)];
    },
    async consume(offset, headers = {}, count = Number.POSITIVE_INFINITY, transport) {
      const stop = new AbortController();
      const follow: RequestHeaders = count === Number.POSITIVE_INFINITY ? { [FOLLOW_HEADER]: "false" } : {};
      const call = { headers: { ...log(), ...follow, ...headers }, signal: stop.signal };
      const way = transport ? context.client(LogService, transport) : client;
      const records: string[] = [];
      context.after(() => stop.abort());
      for await (const record of way.consume({ offset }, call)) {
        if (records.push(`${record.offset} ${fromUtf8(record.value)}`) === count) break;
      }
      stop.abort();
      return records;
    },
  };
}
