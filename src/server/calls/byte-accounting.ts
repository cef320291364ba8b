import type { ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { exhausted } from "../errors.js";

/** Whether each message has its length in front: all but the unary calls of Connect. */
export const isEnveloped = (header: Headers): boolean =>
  /^application\/(grpc|connect\+)/i.test(header.get("content-type") ?? "");

/** The bytes of one answer that are there, and that the connection has no room for yet. */
export class Departure {
  readonly #onChange: (bytes: number) => void;
  #bytes = 0;
  #isOver = false;

  constructor(onChange: (bytes: number) => void) {
    this.#onChange = onChange;
  }

  /** The same response, whose body is counted: each piece until the next one is asked for. */
  of(response: UniversalServerResponse): UniversalServerResponse {
    const { body } = response;
    if (!body || this.#isOver) return response;
    if (body instanceof Uint8Array) {
      this.#set(body.length);
      return response;
    }
    const pieces = inspectChunks(body, (piece) => this.#set(piece.length));
    return { ...response, body: pieces };
  }

  /** The answer has been sent, or nobody waits for it. */
  end(): void {
    this.#set(0);
    this.#isOver = true;
  }

  #set(bytes: number): void {
    if (this.#isOver) return;
    this.#onChange(bytes - this.#bytes);
    this.#bytes = bytes;
  }
}

/** The bytes of one call that have been read, and of which no message has come out yet. */
export class Arrival {
  readonly #most: number;
  readonly #isEnveloped: boolean;
  readonly #onChange: (bytes: number) => void;
  #bytes = 0;
  #isFirst = true;
  #isOver = false;
  readonly #isCompressed: boolean;
  /** What has come of the first message; undefined once that is whole. */
  #first: Uint8Array[] | undefined = [];

  /** `onChange` is told of more bytes and of fewer, and may throw at more. */
  constructor(header: Headers, most: number, onChange: (bytes: number) => void) {
    this.#most = most;
    this.#isCompressed = (header.get("content-encoding") ?? "identity") !== "identity";
    this.#isEnveloped = isEnveloped(header);
    this.#onChange = onChange;
  }

  add(chunk: Uint8Array): void {
    if (this.#isOver) return;
    // The framework sees a first message that is too large as well, but tells it by another name.
    if (this.#isFirst && this.#isEnveloped && chunk.length >= 5) {
      const length = new DataView(chunk.buffer, chunk.byteOffset).getUint32(1);
      if (length > this.#most) throw tooLarge(this.#most, length);
    }
    this.#isFirst = false;
    this.#first?.push(chunk);
    this.#bytes += chunk.length;
    this.#onChange(chunk.length);
    if (!this.#isEnveloped && this.#bytes > this.#most) throw tooLarge(this.#most);
  }

  /** Whether no message has come out yet. */
  get isAtFirst(): boolean {
    return this.#first !== undefined;
  }

  /** The first message as it came; undefined where it is compressed, has come out already or is not all there. */
  firstMessage(): Uint8Array | undefined {
    if (!this.#first || this.#isCompressed) return undefined;
    const bytes = joined(this.#first);
    if (!this.#isEnveloped) return bytes;
    if (bytes.length < 5 || bytes[0] !== 0) return undefined;
    const end = 5 + new DataView(bytes.buffer).getUint32(1);
    return bytes.length < end ? undefined : bytes.subarray(5, end);
  }

  /** What has come so far is a message. */
  whole(): void {
    this.#first = undefined;
    this.#onChange(-this.#bytes);
    this.#bytes = 0;
  }

  /** What has come so far, and what comes from now on, is of no use any more. */
  end(): void {
    this.#isOver = true;
    this.whole();
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

export const tooLarge = (most: number, bytes?: number | string | null): ConnectError =>
  exhausted(
    "messageBytes",
    most,
    bytes === undefined ? "the message is larger" : `the message has ${bytes} bytes`,
  );

/**
 * `chunks`, each shown to `look` first, which may throw. They are not ended then: a request that is cut off could not
 * carry the answer.
 */
export function inspectChunks(
  chunks: AsyncIterable<Uint8Array>,
  look: (chunk: Uint8Array) => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = chunks[Symbol.asyncIterator]();
      const seen = (step: IteratorResult<Uint8Array>) => {
        if (!step.done) look(step.value);
        return step;
      };
      return {
        next: () => inner.next().then(seen),
        return: async (value) => (await inner.return?.(value)) ?? { done: true, value },
        throw: async (error) => {
          if (inner.throw) return inner.throw(error);
          throw error;
        },
      };
    },
  };
}
