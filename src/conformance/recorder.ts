import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { ConnectError, type Transport } from "@connectrpc/connect";
import { formatValue } from "./expect.js";

/** The number of recorded calls of a case, and of recorded messages of a stream. */
const CALLS = 8;
const MESSAGES = 6;

/** The messages and headers of one call, as text. */
export interface RecordedCall {
  /** Service and method, as in its path. */
  readonly method: string;
  /** The request headers, each as "name: value". */
  readonly headers: readonly string[];
  /** The messages that were sent; the first few, if it is a stream. */
  readonly sent: readonly string[];
  /** The headers, messages and trailers that came back. */
  readonly got: readonly string[];
  /** "ok" or the error; "" while the call is open. */
  readonly ended: string;
}

type MutableCall = { method: string; headers: string[]; sent: string[]; got: string[]; ended: string };

/** Wraps `transport`: keeps the last calls in `calls`. */
export function recordCalls(transport: Transport, calls: RecordedCall[]): Transport {
  const begin = (method: string, header: HeadersInit | undefined): MutableCall => {
    const headers = [...new Headers(header)].map(([name, value]) => `${name}: ${value}`);
    const note: MutableCall = { method, headers, sent: [], got: [], ended: "" };
    calls.push(note);
    if (calls.length > CALLS) calls.shift();
    return note;
  };
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const note = begin(`${method.parent.typeName}/${method.name}`, header);
      note.sent.push(formatValue(input));
      try {
        const answer = await transport.unary(method, signal, timeoutMs, header, input, contextValues);
        note.got.push(
          ...extensionHeaders(answer.header),
          formatValue(answer.message),
          ...extensionHeaders(answer.trailer),
        );
        note.ended = "ok";
        return answer;
      } catch (error) {
        note.ended = formatError(error);
        throw error;
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const note = begin(`${method.parent.typeName}/${method.name}`, header);
      try {
        const sent = recordMessages(input as AsyncIterable<MessageShape<DescMessage>>, note.sent);
        const answer = await transport.stream(
          method,
          signal,
          timeoutMs,
          header,
          sent as typeof input,
          contextValues,
        );
        note.got.push(...extensionHeaders(answer.header));
        return { ...answer, message: recordMessages(answer.message, note.got, note) };
      } catch (error) {
        note.ended = formatError(error);
        throw error;
      }
    },
  };
}

async function* recordMessages<T>(
  messages: AsyncIterable<T>,
  into: string[],
  note?: MutableCall,
): AsyncGenerator<T> {
  try {
    for await (const message of messages) {
      if (into.length === MESSAGES) into.push("…");
      if (into.length < MESSAGES) into.push(formatValue(message));
      yield message;
    }
    if (note) note.ended = "ok";
  } catch (error) {
    if (note) note.ended = formatError(error);
    throw error;
  }
}

/** The headers of the API and its extensions. */
const extensionHeaders = (headers: Headers): string[] =>
  [...headers].filter(([name]) => name.startsWith("fairlead-")).map(([name, value]) => `${name}: ${value}`);

function formatError(reason: unknown): string {
  const error = ConnectError.from(reason);
  const details = error.details.map((detail) => formatValue("desc" in detail ? detail.value : detail.debug));
  return [error.message, ...details].join(" ");
}
