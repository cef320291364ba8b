import type { ServiceImpl } from "@connectrpc/connect";
import type { LogService } from "../../../gen/atomix/log/log_pb.js";
import { MergedStream } from "../../lib/merge-streams.js";
import { canceled } from "../../rpc/canceled.js";
import {
  FIRST_OFFSET_TRAILER,
  FOLLOW_HEADER,
  FROM_TIME_HEADER,
  LAST_OFFSET_TRAILER,
  LOG_HEADER,
} from "../../rpc/extension-headers.js";
import { logNameIn } from "../calls/request-names.js";
import { checkName } from "../calls/validate/field-rules.js";
import type { Limits } from "../config/config.js";
import type { ServiceContext } from "../context.js";
import { invalid, unavailable } from "../errors.js";
import { RecordBatches } from "./log/batches.js";
import { LogRegistry } from "./log/registry.js";

/** The log RPCs: one service for all logs. A request header names the log. Writing to a log creates it. */
export function logService(context: ServiceContext): ServiceImpl<typeof LogService> {
  const { logs } = context.engine;
  const { limits } = context;
  const registry = new LogRegistry(context);

  return {
    async produce(requests, { requestHeader, responseTrailer, signal }) {
      const log = logNameOf(requestHeader, limits);
      let first: bigint | undefined;
      const batches = new RecordBatches(async (values) => {
        await registry.create(log);
        const appended = await logs.append(log, values);
        first ??= appended.first;
        responseTrailer.set(FIRST_OFFSET_TRAILER, String(first));
        responseTrailer.set(LAST_OFFSET_TRAILER, String(appended.last));
      });
      try {
        const values = new MergedStream<{ value: Uint8Array }>(signal);
        values.add(requests);
        for await (const { value } of values) await batches.add(value);
        // With some transports, a canceled producer looks like one that has finished. Its last batch is not written.
        if (signal.aborted) throw canceled(signal);
        await batches.finish();
      } finally {
        batches.discard();
      }
      return {};
    },

    async *consume({ offset }, { requestHeader, signal }) {
      const log = logNameOf(requestHeader, limits);
      const follow = isFollowing(requestHeader);
      const sinceMs = fromTimeOf(requestHeader);
      if (follow) await registry.waitFor(log, signal);
      else if (!(await registry.has(log))) return;
      let from = offset;
      if (sinceMs !== undefined) {
        const sought = await logs.seek(log, sinceMs);
        if (sought > from) from = sought;
      }
      for await (const batch of logs.read(log, from, { follow, signal })) {
        for (const { offset, timestampMs, value } of batch) {
          if (signal.aborted) throw canceled(signal);
          // If `sinceMs` is in the future, seek() could not skip records that were appended later.
          if (sinceMs !== undefined && timestampMs < sinceMs) continue;
          yield { offset, timestamp: BigInt(timestampMs), value };
        }
      }
      if (signal.aborted) throw canceled(signal);
      if (follow) throw unavailable("the engine ended the read");
    },
  };
}

function logNameOf(header: Headers, limits: Limits): string {
  const name = logNameIn(header);
  checkName(LOG_HEADER, name, limits);
  return name;
}

function isFollowing(header: Headers): boolean {
  const text = header.get(FOLLOW_HEADER) ?? "true";
  if (text === "true" || text === "false") return text === "true";
  throw invalid(FOLLOW_HEADER, text, 'must be "true" or "false"');
}

function fromTimeOf(header: Headers): number | undefined {
  const text = header.get(FROM_TIME_HEADER);
  if (text === null) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw invalid(FROM_TIME_HEADER, text, "must be a time in Unix milliseconds, a whole number");
}
