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

type Sent = Record<string, string>;

/** The log RPCs on logs that belong to the case. The default log is "l". */
export interface LogCalls extends CaseContext {
  readonly logs: Client<typeof LogService>;
  /** The header that names the case's log. */
  log(name?: string): Sent;
  /** Appends, and returns the first and the last offset of the trailers. */
  produce(values: Iterable<string> | AsyncIterable<string>, headers?: Sent): Promise<(string | null)[]>;
  /** Reads records as "offset value": `count` of them, or all up to the end of the log. */
  consume(offset: bigint, headers?: Sent, count?: number, transport?: Transport): Promise<string[]>;
}

export function logCalls(bench: CaseContext): LogCalls {
  const client = bench.client(LogService);
  const log = (name = "l") => ({ [LOG_HEADER]: encodeURIComponent(bench.own(name)) });
  return {
    ...bench,
    logs: client,
    log,
    async produce(values, headers = {}) {
      let trailer = new Headers();
      const requests = async function* () {
        for await (const value of values) yield { value: utf8(value) };
      };
      const onTrailer = (told: Headers) => {
        trailer = told;
      };
      await client.produce(requests(), { headers: { ...log(), ...headers }, onTrailer });
      return [trailer.get(FIRST_OFFSET_TRAILER), trailer.get(LAST_OFFSET_TRAILER)];
    },
    async consume(offset, headers = {}, count = Number.POSITIVE_INFINITY, transport) {
      const leave = new AbortController();
      const follow: Sent = count === Number.POSITIVE_INFINITY ? { [FOLLOW_HEADER]: "false" } : {};
      const call = { headers: { ...log(), ...follow, ...headers }, signal: leave.signal };
      const way = transport ? bench.client(LogService, transport) : client;
      const records: string[] = [];
      bench.after(() => leave.abort());
      for await (const record of way.consume({ offset }, call)) {
        if (records.push(`${record.offset} ${fromUtf8(record.value)}`) === count) break;
      }
      leave.abort();
      return records;
    },
  };
}
