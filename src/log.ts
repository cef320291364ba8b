import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { LogService } from "../gen/atomix/log/log_pb.js";
import { type Coding, codecOf } from "./codec.js";
import { callsOf } from "./internal/calls.js";
import { deadline } from "./internal/deadline.js";
import { needExtensions } from "./internal/extensions.js";
import { tellingTrailers, withHeaders } from "./internal/headers.js";
import { resuming } from "./internal/resuming.js";

/** A record of a log. */
export interface LogEntry<T> {
  /** Where it stands in the log, counted from 1n without gaps. */
  offset: bigint;
  /** When it was appended, by the server's clock; never earlier than the record before it. */
  timestamp: Date;
  /** What was appended. */
  value: T;
}

/** Where appended records stand. Both are undefined where the server does not tell, and where there were none. */
export type Appended =
  | { firstOffset: bigint; lastOffset: bigint }
  | { firstOffset: undefined; lastOffset: undefined };

/** One value or several. A value that is itself an array goes inside another: an array is always several. */
export type OneOrSeveral<T> = readonly T[] | (T extends readonly unknown[] ? never : T);

/** Which records to read. */
export interface LogReadOptions extends CallOptions {
  /** The first offset to read; one that is not kept any more moves to the oldest that is. Default: 0n, the oldest. */
  from?: bigint;
  /** Begins with the first record of this time or later, a Date or Unix milliseconds; with `from`, at the later. */
  fromTime?: Date | number;
  /** Waits for further records instead of ending at the last one there is. Default: true. */
  follow?: boolean;
}

/** An append-only log that every client of the server shares. */
export interface Log<T> {
  /**
   * Appends `values` in their order and resolves once they are durable. All or none of them, next to each other, as
   * long as they are no more than 512 and 1 MiB, and reach the server within a second; beyond that in such batches.
   * Not tried again by itself after a lost connection, since that could append twice. `Produce`
   */
  append(values: OneOrSeveral<T>, options?: CallOptions): Promise<Appended>;
  /**
   * The records in order, on and on. A lost connection is opened again where it was lost: no record is missing and
   * none comes twice, except for those that retention took meanwhile. Leaving the loop frees the server. `Consume`
   */
  read(options?: LogReadOptions): AsyncIterable<LogEntry<T>>;
}

/**
 * The log that the server calls `name`. Costs nothing: the first call goes to the server. Only servers with
 * Fairlead's extensions have other logs than `default`; elsewhere they fail with `Code.Unimplemented`, as `fromTime`
 * and `follow: false` do.
 */
export function createLog<T = unknown>(
  transport: Transport,
  name = "default",
  coding: Coding<T> = {},
): Log<T> {
  const client = callsOf(LogService, transport);
  const codec = codecOf(coding);
  const named = { "fairlead-log": name === "default" ? undefined : encodeURIComponent(name) };

  const needNames = async (doing: string, signal?: AbortSignal) => {
    if (name !== "default") await needExtensions(transport, `Cannot ${doing} log "${name}"`, signal);
  };

  async function* records({ from, sinceMs, follow }: Start, call: CallOptions): AsyncGenerator<LogEntry<T>> {
    const doing = `read log "${name}"`;
    const left = deadline({ timeoutMs: 0, ...call }, `Cannot ${doing}`);
    let offset = from;
    let begun = false;
    const open = async function* (signal: AbortSignal) {
      await needNames("read", signal);
      if (!follow) await needExtensions(transport, `Cannot ${doing} to its end only`, signal);
      if (sinceMs !== undefined) await needExtensions(transport, `Cannot ${doing} from a time on`, signal);
      const headers = withHeaders(left(), {
        ...named,
        "fairlead-follow": follow ? undefined : "false",
        "fairlead-from-time": sinceMs === undefined || begun ? undefined : String(sinceMs),
      });
      yield* client.consume({ offset }, { ...headers, signal });
      // What follows for ever has no end of its own: something between here and the server made one.
      if (follow) throw new ConnectError(`Cannot ${doing}: the stream ended`, Code.Unavailable);
    };
    for await (const record of resuming(open, call.signal)) {
      // Older servers give the first record of an empty log to those who asked for a later one.
      if (record.offset < offset) continue;
      begun = true;
      offset = record.offset + 1n;
      const timestamp = new Date(Number(record.timestamp));
      yield { offset: record.offset, timestamp, value: codec.decode(record.value) };
    }
  }

  return {
    async append(values, call = {}) {
      const several = (Array.isArray(values) ? values : [values]) as readonly T[];
      const requests = several.map((value) => ({ value: codec.encode(value) }));
      let appended: Appended = { firstOffset: undefined, lastOffset: undefined };
      if (requests.length === 0) return appended;
      await needNames("append to", call.signal);
      const told = tellingTrailers(withHeaders(call, named), (trailers) => {
        const [first, last] = [trailers.get("fairlead-first-offset"), trailers.get("fairlead-last-offset")];
        if (first && last) appended = { firstOffset: BigInt(first), lastOffset: BigInt(last) };
      });
      await client.produce(each(requests), told);
      return appended;
    },

    read({ from = 0n, fromTime, follow = true, ...call } = {}) {
      if (from < 0n) throw new RangeError(`Cannot read log "${name}": from must be 0n or more, got ${from}`);
      return records(
        { from, follow, sinceMs: fromTime === undefined ? undefined : unixMs(name, fromTime) },
        call,
      );
    },
  };
}

type Start = { from: bigint; sinceMs: number | undefined; follow: boolean };

function unixMs(name: string, time: Date | number): number {
  const ms = Math.ceil(Number(time));
  if (ms >= 0 && ms < 1e15) return ms;
  throw new RangeError(`Cannot read log "${name}": fromTime must be a time since 1970, got ${String(time)}`);
}

async function* each<R>(requests: readonly R[]): AsyncGenerator<R> {
  yield* requests;
}
