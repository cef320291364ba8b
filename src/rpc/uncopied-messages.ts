import type { DescMessage, Message } from "@bufbuild/protobuf";
import { type ContextKey, createContextKey, type Interceptor, type StreamRequest } from "@connectrpc/connect";
import { ENVELOPE_BYTES } from "./envelopes.js";
import { type SplitMessage, splitLargeBytes } from "./large-bytes.js";

/** The part of Node's streams that is written to. */
interface Output {
  write: (...args: never[]) => boolean;
  cork(): void;
  uncork(): void;
}

/**
 * Sends the large bytes fields of a stream's messages without copies. Connect copies each message three times: as its
 * encoder grows, as it ends, and into the envelope. So Connect encodes the message without the field, and the field is
 * appended to the envelope as it is written.
 */
export class UncopiedMessages {
  /** For each message that Connect has not encoded yet, the part that it does not get. */
  readonly #pending: (SplitMessage<DescMessage> | undefined)[] = [];

  /** How many bytes belong to chunks that join() has not returned yet. */
  get pendingBytes(): number {
    return this.#pending.reduce((sum, part) => sum + (part?.bytes.length ?? 0), 0);
  }

  /** `messages` for Connect to encode. Each one must become a chunk of its own, which is not compressed. */
  split(type: DescMessage, messages: AsyncIterable<Message>): AsyncIterable<Message> {
    return mapped(messages, (message) => {
      const part = splitLargeBytes(type, message);
      this.#pending.push(part);
      return part?.rest ?? message;
    });
  }

  /** The bytes of a chunk of the encoded stream, to be written one after another. */
  join(chunk: Uint8Array): readonly [Uint8Array, Uint8Array?] {
    // The end of a stream of Connect or gRPC-Web is an envelope with flags, and no message.
    const part = chunk[0] === 0 ? this.#pending.shift() : undefined;
    if (!part) return [chunk];
    const { prefix, bytes } = part;
    const head = new Uint8Array(chunk.length + prefix.length);
    head.set(chunk);
    head.set(prefix, chunk.length);
    new DataView(head.buffer).setUint32(1, head.length - ENVELOPE_BYTES + bytes.length);
    return [head, bytes];
  }

  /** Makes `stream.write()` join the chunks that it gets. */
  joinWrites(stream: Output): void {
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (chunk: Uint8Array, ...rest: unknown[]) => {
      const [head, bytes] = this.join(chunk);
      if (!bytes) return write(head, ...rest);
      stream.cork();
      write(head);
      const hasRoom = write(bytes, ...rest);
      stream.uncork();
      return hasRoom;
    };
  }
}

/** `source` with each value mapped. Not a generator, which would create two more promises for each value. */
function mapped<T>(source: AsyncIterable<T>, map: (value: T) => T): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = source[Symbol.asyncIterator]();
      const { return: leave, throw: raise } = inner;
      return {
        next: async () => {
          const step = await inner.next();
          return step.done ? step : { done: false, value: map(step.value) };
        },
        ...(leave && { return: (value?: unknown) => leave.call(inner, value) }),
        ...(raise && { throw: (reason?: unknown) => raise.call(inner, reason) }),
      };
    },
  };
}

/** Whether a stream with these headers has binary messages without compression. */
export function isPlainBinary(headers: Headers): boolean {
  const isCompressed = headers.has("connect-content-encoding") || headers.has("grpc-encoding");
  return !isCompressed && !headers.get("content-type")?.endsWith("json");
}

/** The response of a streaming call, to be sent without copies. */
export const uncopiedResponse: ContextKey<UncopiedMessages | undefined> = createContextKey<
  UncopiedMessages | undefined
>(undefined);

/** The outermost interceptor of a server: it splits the messages of a response that has `uncopiedResponse`. */
export const splitResponse: Interceptor = (next) => (request) =>
  request.stream ? splitMessages(next, request) : next(request);

async function splitMessages(
  next: ReturnType<Interceptor>,
  request: StreamRequest,
): ReturnType<ReturnType<Interceptor>> {
  const response = await next(request);
  const messages = request.contextValues.get(uncopiedResponse);
  if (!messages || !response.stream || !isPlainBinary(response.header)) return response;
  return { ...response, message: messages.split(response.method.output, response.message) };
}
