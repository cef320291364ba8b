import {
  type CallOptions,
  Code,
  ConnectError,
  createContextValues,
  type Transport,
} from "@connectrpc/connect";
import { type LogRecord, LogService } from "../../../gen/atomix/log/log_pb.js";
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
import { createFollower, type LoadedFollower } from "../follower/create-follower.js";
import { streamWithReconnect } from "../follower/reconnect.js";
import { generatedClient } from "../generated-client.js";
import type { Appended, LogEntry } from "../log.js";
import { askServer, needExtensions } from "../server-extensions.js";
import type { ConnectionStatus } from "../status/connection-status.js";

/** A log, and how its values are decoded. */
interface LogPlace<T> {
  transport: Transport;
  name: string;
  codec: Codec<T>;
}

/** Where a reader starts, and whether it waits at the end of the log. */
export type LogStart = { from: bigint; sinceMs: number | undefined; follow: boolean };

/** The records of a log from `start` on. After a lost connection, reading continues at the next offset. */
export function readRecords<T>(
  place: LogPlace<T>,
  start: LogStart,
  call: CallOptions,
): LoadedFollower<LogEntry<T>> {
  return createFollower(place.transport, call.signal, (signal, status) =>
    records(place, start, { ...call, signal }, status),
  );
}

async function* records<T>(
  { transport, name, codec }: LogPlace<T>,
  { from, sinceMs, follow }: LogStart,
  { signal, ...call }: CallOptions & { signal: AbortSignal },
  status: ConnectionStatus,
): AsyncGenerator<LogEntry<T>, void, undefined> {
  const remainingCall = deadline({ timeoutMs: 0, ...call }, `Cannot read log "${name}"`);
  let offset = from;
  let sinceTime = sinceMs;
  const consume = (signal: AbortSignal, connected: () => void) => {
    const start = { from: offset, sinceMs: sinceTime, follow };
    return consumeFrom(transport, name, start, { signal, remainingCall, connected });
  };
  for await (const record of streamWithReconnect(consume, signal, status)) {
    // If the log is empty, older servers send its first record even to readers of a later offset.
    if (record.offset < offset) continue;
    sinceTime = undefined;
    offset = record.offset + 1n;
    const timestamp = new Date(Number(record.timestamp));
    const entry = { offset: record.offset, timestamp, value: undefined as T };
    yield decodeInto(entry, "value", codec, record.value, { log: name, offset: record.offset });
  }
}

interface ConsumeOptions {
  signal: AbortSignal;
  /** The call options with the remaining time. */
  remainingCall: () => CallOptions;
  /** Called when the server has answered. */
  connected: () => void;
}

/** One Consume stream. */
async function* consumeFrom(
  transport: Transport,
  name: string,
  { from, sinceMs, follow }: LogStart,
  { signal, remainingCall, connected }: ConsumeOptions,
): AsyncGenerator<LogRecord, void, undefined> {
  const failure = `Cannot read log "${name}"`;
  await needNamedLogs(transport, name, failure, signal);
  if (!follow) await needExtensions(transport, `${failure} to its end only`, signal);
  if (sinceMs !== undefined) await needExtensions(transport, `${failure} from a time on`, signal);
  const call = withHeaders(remainingCall(), {
    ...logHeader(name),
    [FOLLOW_HEADER]: follow ? undefined : "false",
    [FROM_TIME_HEADER]: sinceMs === undefined ? undefined : String(sinceMs),
  });
  // Consume sends its headers with the first record, so another call shows that the server is connected.
  askServer(transport, { signal, contextValues: createContextValues().set(withoutToken, true) }).then(
    () => signal.aborted || connected(),
    () => {},
  );
  const options = { ...withOnHeader(call, connected), signal };
  yield* generatedClient(LogService, transport).consume({ offset: from }, options);
  // The server does not end a stream that follows the log: a proxy has closed it.
  if (follow) throw new ConnectError(`${failure}: the stream ended`, Code.Unavailable);
}

/** Appends encoded values, at least one. */
export async function appendRecords(
  transport: Transport,
  name: string,
  values: readonly Uint8Array[],
  call: CallOptions,
): Promise<Appended> {
  let appended: Appended = { firstOffset: undefined, lastOffset: undefined };
  await needNamedLogs(transport, name, `Cannot append to log "${name}"`, call.signal);
  const options = withOnTrailer(withHeaders(call, logHeader(name)), (trailers) => {
    const [first, last] = [trailers.get(FIRST_OFFSET_TRAILER), trailers.get(LAST_OFFSET_TRAILER)];
    if (first && last) appended = { firstOffset: BigInt(first), lastOffset: BigInt(last) };
  });
  await generatedClient(LogService, transport).produce(produceRequests(values), options);
  return appended;
}

async function* produceRequests(values: readonly Uint8Array[]) {
  for (const value of values) yield { value };
}

const logHeader = (name: string) => ({
  [LOG_HEADER]: name === "default" ? undefined : encodeURIComponent(name),
});

/** Other logs than the default one need a server with Fairlead's extensions. */
async function needNamedLogs(transport: Transport, name: string, failure: string, signal?: AbortSignal) {
  if (name !== "default") await needExtensions(transport, failure, signal);
}
