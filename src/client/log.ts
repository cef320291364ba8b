import type { CallOptions, Transport } from "@connectrpc/connect";
import { checkedName, checkOptions } from "../lib/checks.js";
import { quote } from "../lib/quote.js";
import { type Coding, codecOf, encoded } from "./codec.js";
import { type Follower, lazyFollower } from "./follower.js";
import { lazyChunk } from "./lazy.js";
import type { LogStart } from "./log/records.js";

/** A record of a log. */
export interface LogEntry<T> {
  /** The position in the log, counted from 1n without gaps. */
  offset: bigint;
  /** The time of the append by the server's clock; never earlier than that of the record before. */
  timestamp: Date;
  /** The appended value. If the codec cannot decode it, reading this throws `Code.DataLoss`: see unreadableFacts(). */
  value: T;
}

/** The offsets of appended records. Both are undefined if there were none, or if the server does not send them. */
export type Appended =
  | { firstOffset: bigint; lastOffset: bigint }
  | { firstOffset: undefined; lastOffset: undefined };

/** One value or several. An array always means several values, so a value that is an array must be in another array. */
export type OneOrSeveral<T> = readonly T[] | (T extends readonly unknown[] ? never : T);

/** Which records are read. */
export interface LogReadOptions extends CallOptions {
  /** The first offset to read. If that record was removed, reading starts at the oldest. Default: 0n, the oldest. */
  from?: bigint;
  /**
   * Starts at the first record of this time or later, a Date or Unix milliseconds; with `from`, at the later of both.
   */
  fromTime?: Date | number;
  /** Waits for further records at the end of the log. Default: true. */
  follow?: boolean;
}

/** An append-only log that all clients of the server share. */
export interface Log<T> {
  /**
   * Appends `values` in order, and resolves when they are durable. Up to 512 values and 1 MiB that reach the server
   * within a second are appended next to each other, all or none; more are appended in such batches. Is not retried
   * when the connection is lost, because the values could be appended twice. `Produce`
   */
  append(values: OneOrSeveral<T>, options?: CallOptions): Promise<Appended>;
  /**
   * The records in order. If the connection is lost, reading continues after the last record: none is missing, unless
   * retention removed it meanwhile, and none comes twice. Leaving the loop ends the call, and so does `return()` while
   * it waits. `Consume`
   */
  read(options?: LogReadOptions): Follower<LogEntry<T>>;
}

/**
 * The log that the server calls `name`. Makes no call by itself. Only servers with Fairlead's extensions have other
 * logs than `default`, and support `fromTime` and `follow: false`; other servers fail with `Code.Unimplemented`.
 *
 * @example
 * ```ts
 * import { createLog } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const log = createLog<string>(createNodeTransport("http://localhost:34904"), "example");
 * const { firstOffset } = await log.append(["created", "paid"]);
 * for await (const { value } of log.read({ from: firstOffset, follow: false })) {
 *   console.log(value); // created, paid
 * }
 * ```
 */
export function createLog<T = unknown>(
  transport: Transport,
  name = "default",
  coding: Coding<T> = {},
): Log<T> {
  const codec = codecOf(coding);
  const place = `log ${quote(checkedName("the log", name))}`;

  return {
    async append(values, call = {}) {
      const failure = `Cannot append to ${place}`;
      checkOptions(failure, call);
      const several = (Array.isArray(values) ? values : [values]) as readonly T[];
      // Encoded before the code is loaded: the caller may change a value after the call. map() would skip holes.
      const records = Array.from({ length: several.length }, (_, i) => {
        if (!(i in several)) throw new TypeError(`${failure}: the array has a hole at ${i}`);
        return encoded(failure, codec, several[i] as T);
      });
      if (records.length === 0) return { firstOffset: undefined, lastOffset: undefined };
      return (await lazyChunk()).appendRecords(transport, name, records, call);
    },

    read(options = {}) {
      const failure = `Cannot read ${place}`;
      checkOptions(failure, options, { from: "bigint", follow: "boolean" });
      const { from = 0n, fromTime, follow = true, ...call } = options;
      if (from < 0n) throw new RangeError(`${failure}: from must be 0n or more, got ${quote(from)}`);
      const sinceMs = fromTime === undefined ? undefined : unixMs(failure, fromTime);
      const start: LogStart = { from, follow, sinceMs };
      return lazyFollower(({ readRecords }) => readRecords({ transport, name, codec }, start, call));
    },
  };
}

function unixMs(failure: string, time: Date | number): number {
  const isTime = typeof time === "number" || time instanceof Date;
  const ms = Math.ceil(Number(time));
  if (isTime && ms >= 0 && ms < 1e15) return ms;
  throw new (isTime ? RangeError : TypeError)(
    `${failure}: fromTime must be a Date or Unix milliseconds since 1970, got ${quote(time)}`,
  );
}
