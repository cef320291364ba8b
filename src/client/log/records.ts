import {
  type CallOptions,
  Code,
  ConnectError,
  createContextValues,
  type Transport,
} from "@connectrpc/connect";
import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { withHeaders, withOnHeader, withOnTrailer } from "../../rpc/call-headers.js";
import { deadline } from "../../rpc/deadline.js";
import {
  FIRST_OFFSET_TRAILER,
  FOLLOW_HEADER,
  FROM_TIME_HEADER,
  LAST_OFFSET_TRAILER,
  LOG_HEADER,
} from "../../rpc/extension-headers.js";
import { withoutToken } from "../../rpc/with-bearer-token.js";
import type { Codec } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import type { LoadedFollower } from "../follower/follow.js";
import { follow } from "../follower/follow.js";
import { streamWithReconnect } from "../follower/reconnect.js";
import { generatedClient } from "../generated-client.js";
import { askServer, needExtensions } from "../server-extensions.js";
import type { ConnectionStatus } from "../status/connection-status.js";

/** A record of a log. */
export interface LogEntry<T> {
  /** Where it stands in the log, counted from 1n without gaps. */
  offset: bigint;
  /** When it was appended, by the server's clock; never earlier than the record before it. */
  timestamp: Date;
  /** What was appended. Where the codec cannot decode it, reading this throws `Code.DataLoss`: see unreadableFacts(). */
  value: T;
}

/** Where appended records stand. Both are undefined where the server does not tell, and where there were none. */
export type Appended =
  | { firstOffset: bigint; lastOffset: bigint }
  | { firstOffset: undefined; lastOffset: undefined };

/** Which log is meant, and how its values are coded. */
export interface LogPlace<T> {
  transport: Transport;
  name: string;
  codec: Codec<T>;
}

/** Where a reader begins, and whether it ends. */
export type Start = { from: bigint; sinceMs: number | undefined; follow: boolean };

/** The request header that names a log. */
const named = (name: string) => ({
  [LOG_HEADER]: name === "default" ? undefined : encodeURIComponent(name),
});

async function needNames(transport: Transport, name: string, doing: string, signal?: AbortSignal) {
  if (name !== "default") await needExtensions(transport, `Cannot ${doing} log "${name}"`, signal);
}

/** The records of a log from `from` or `sinceMs` on; it goes on by itself after a lost connection. */
export function readRecords<T>(
  place: LogPlace<T>,
  start: Start,
  call: CallOptions,
): LoadedFollower<LogEntry<T>> {
  return follow(place.transport, call.signal, (signal, status) =>
    recordsOf(place, start, { ...call, signal }, status),
  );
}

async function* recordsOf<T>(
  { transport, name, codec }: LogPlace<T>,
  { from, sinceMs, follow }: Start,
  { signal, ...call }: CallOptions & { signal: AbortSignal },
  status: ConnectionStatus,
): AsyncGenerator<LogEntry<T>, void, undefined> {
  const client = generatedClient(LogService, transport);
  const doing = `read log "${name}"`;
  const left = deadline({ timeoutMs: 0, ...call }, `Cannot ${doing}`);
  let offset = from;
  let begun = false;
  const open = async function* (signal: AbortSignal, connected: () => void) {
    await needNames(transport, name, "read", signal);
    if (!follow) await needExtensions(transport, `Cannot ${doing} to its end only`, signal);
    if (sinceMs !== undefined) await needExtensions(transport, `Cannot ${doing} from a time on`, signal);
    const headers = withHeaders(left(), {
      ...named(name),
      [FOLLOW_HEADER]: follow ? undefined : "false",
      [FROM_TIME_HEADER]: sinceMs === undefined || begun ? undefined : String(sinceMs),
    });
    // A log that has nothing to tell says nothing at all, its headers included.
    askServer(transport, { signal, contextValues: createContextValues().set(withoutToken, true) }).then(
      () => signal.aborted || connected(),
      () => {},
    );
    yield* client.consume({ offset }, withOnHeader({ ...headers, signal }, connected));
    // What follows for ever has no end of its own: something between here and the server made one.
    if (follow) throw new ConnectError(`Cannot ${doing}: the stream ended`, Code.Unavailable);
  };
  for await (const record of streamWithReconnect(open, signal, status)) {
    // Older servers give the first record of an empty log to those who asked for a later one.
    if (record.offset < offset) continue;
    begun = true;
    offset = record.offset + 1n;
    const timestamp = new Date(Number(record.timestamp));
    const entry = { offset: record.offset, timestamp, value: undefined as T };
    yield decodeInto(entry, "value", codec, record.value, { log: name, offset: record.offset });
  }
}

/** Appends encoded values, of which there is at least one. */
export async function appendRecords(
  transport: Transport,
  name: string,
  values: readonly Uint8Array[],
  call: CallOptions,
): Promise<Appended> {
  let appended: Appended = { firstOffset: undefined, lastOffset: undefined };
  await needNames(transport, name, "append to", call.signal);
  const told = withOnTrailer(withHeaders(call, named(name)), (trailers) => {
    const [first, last] = [trailers.get(FIRST_OFFSET_TRAILER), trailers.get(LAST_OFFSET_TRAILER)];
    if (first && last) appended = { firstOffset: BigInt(first), lastOffset: BigInt(last) };
  });
  await generatedClient(LogService, transport).produce(each(values), told);
  return appended;
}

async function* each(values: readonly Uint8Array[]) {
  for (const value of values) yield { value };
}
