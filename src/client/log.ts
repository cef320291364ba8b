import type { CallOptions, Transport } from "@connectrpc/connect";
import { checkedName, checkOptions } from "../lib/checks.js";
import { quote } from "../lib/quote.js";
import { type Coding, codecOf, encoded } from "./codec.js";
import { type Follower, lazyFollower } from "./follower.js";
import { lazyChunk } from "./lazy.js";
import type { Appended, LogEntry, Start } from "./log/records.js";

export type { Appended, LogEntry };

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
   * none comes twice, except for those that retention took meanwhile. Leaving the loop frees the server, and so does
   * `return()` while it waits. `Consume`
   */
  read(options?: LogReadOptions): Follower<LogEntry<T>>;
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
  const codec = codecOf(coding);
  const place = `log ${quote(checkedName("the log", name))}`;

  const records = (start: Start, call: CallOptions) =>
    lazyFollower(({ readRecords }) => readRecords({ transport, name, codec }, start, call));

  return {
    async append(values, call = {}) {
      const what = `Cannot append to ${place}`;
      checkOptions(what, call);
      const several = (Array.isArray(values) ? values : [values]) as readonly T[];
      // At once: what is done to a value after the call is not part of it. Not by map(), which passes over holes.
      const records = Array.from({ length: several.length }, (_, i) => {
        if (!(i in several)) throw new TypeError(`${what}: the array has a hole at ${i}`);
        return encoded(what, codec, several[i] as T);
      });
      if (records.length === 0) return { firstOffset: undefined, lastOffset: undefined };
      const { appendRecords } = await lazyChunk();
      return appendRecords(transport, name, records, call);
    },

    read(options = {}) {
      const what = `Cannot read ${place}`;
      checkOptions(what, options, { from: "bigint", follow: "boolean" });
      const { from = 0n, fromTime, follow = true, ...call } = options;
      if (from < 0n) throw new RangeError(`${what}: from must be 0n or more, got ${quote(from)}`);
      const sinceMs = fromTime === undefined ? undefined : unixMs(what, fromTime);
      return records({ from, follow, sinceMs }, call);
    },
  };
}

function unixMs(what: string, time: Date | number): number {
  const isTime = typeof time === "number" || time instanceof Date;
  const ms = Math.ceil(Number(time));
  if (isTime && ms >= 0 && ms < 1e15) return ms;
  throw new (isTime ? RangeError : TypeError)(
    `${what}: fromTime must be a Date or Unix milliseconds since 1970, got ${quote(time)}`,
  );
}
