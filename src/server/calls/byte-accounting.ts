import type { ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { exhausted } from "../errors.js";

/** Whether each message has its length in front: in all protocols but Connect's unary calls. */
export const isEnveloped = (header: Headers): boolean =>
  /^application\/(grpc|connect\+)/i.test(header.get("content-type") ?? "");

/** The length of an envelope's prefix: a byte of flags and four bytes of length. */
const PREFIX_BYTES = 5;

/** Counts the bytes of one response that exist and that the connection has no room for yet. */
export class ResponseBytes {
  readonly #onChange: (bytes: number) => void;
  #bytes = 0;
  #hasEnded = false;

  constructor(onChange: (bytes: number) => void) {
    this.#onChange = onChange;
  }

  /**
   * The same response with a counted body: each chunk counts until the next one is read, with the bytes that are
   * appended to it when it is sent.
   */
  count(response: UniversalServerResponse, uncopiedBytes = () => 0): UniversalServerResponse {
    const { body } = response;
    if (!body || this.#hasEnded) return response;
    if (body instanceof Uint8Array) {
      this.#set(body.length);
      return response;
    }
    return { ...response, body: inspectChunks(body, (chunk) => this.#set(chunk.length + uncopiedBytes())) };
  }

  /** Counts nothing from now on: the response has been sent, or nobody waits for it. */
  end(): void {
    this.#set(0);
    this.#hasEnded = true;
  }

  #set(bytes: number): void {
    if (this.#hasEnded) return;
    this.#onChange(bytes - this.#bytes);
    this.#bytes = bytes;
  }
}

/** Counts the bytes of one request that have been read and are not a complete message yet. */
export class RequestBytes {
  readonly #messageBytes: number;
  readonly #isEnveloped: boolean;
  readonly #isCompressed: boolean;
  readonly #onChange: (bytes: number) => void;
  #bytes = 0;
  #hasBegun = false;
  #hasEnded = false;
  /** The chunks of the first message; undefined once it is complete. */
  #firstMessage: Uint8Array[] | undefined = [];

  /** `onChange` receives increases and decreases, and may throw at an increase. A message has up to `messageBytes`. */
  constructor(header: Headers, messageBytes: number, onChange: (bytes: number) => void) {
    this.#messageBytes = messageBytes;
    this.#isCompressed = (header.get("content-encoding") ?? "identity") !== "identity";
    this.#isEnveloped = isEnveloped(header);
    this.#onChange = onChange;
  }

  add(chunk: Uint8Array): void {
    if (this.#hasEnded) return;
    // Connect refuses a first message that is too large as well, but by the name of its own option.
    if (!this.#hasBegun && this.#isEnveloped && chunk.length >= PREFIX_BYTES) {
      const length = new DataView(chunk.buffer, chunk.byteOffset).getUint32(1);
      if (length > this.#messageBytes) throw tooLarge(this.#messageBytes, length);
    }
    this.#hasBegun = true;
    this.#firstMessage?.push(chunk);
    this.#bytes += chunk.length;
    this.#onChange(chunk.length);
    if (!this.#isEnveloped && this.#bytes > this.#messageBytes) throw tooLarge(this.#messageBytes);
  }

  /** Whether no message is complete yet. */
  get isAtFirst(): boolean {
    return this.#firstMessage !== undefined;
  }

  /** The bytes of the first message; undefined if it is compressed, has been completed before or is not all there. */
  firstMessage(): Uint8Array | undefined {
    if (!this.#firstMessage || this.#isCompressed) return undefined;
    const bytes = concat(this.#firstMessage);
    if (!this.#isEnveloped) return bytes;
    if (bytes.length < PREFIX_BYTES || bytes[0] !== 0) return undefined;
    const end = PREFIX_BYTES + new DataView(bytes.buffer).getUint32(1);
    return bytes.length < end ? undefined : bytes.subarray(PREFIX_BYTES, end);
  }

  /** Notes that the bytes so far are a complete message. */
  completeMessage(): void {
    this.#firstMessage = undefined;
    this.#onChange(-this.#bytes);
    this.#bytes = 0;
  }

  /** Counts nothing from now on: nobody needs the bytes any more. */
  end(): void {
    this.#hasEnded = true;
    this.completeMessage();
  }
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** The refusal of a message, with its size if that is known. */
export const tooLarge = (messageBytes: number, bytes?: number | string | null): ConnectError =>
  exhausted(
    "messageBytes",
    messageBytes,
    bytes === undefined ? "the message is larger" : `the message has ${bytes} bytes`,
  );

/**
 * Passes `chunks` on, each to `inspect` first, which may throw. The source is not ended then: a request that is cut off
 * could not receive the answer.
 */
export function inspectChunks(
  chunks: AsyncIterable<Uint8Array>,
  inspect: (chunk: Uint8Array) => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = chunks[Symbol.asyncIterator]();
      const inspectResult = (result: IteratorResult<Uint8Array>) => {
        if (!result.done) inspect(result.value);
        return result;
      };
      return {
        next: () => inner.next().then(inspectResult),
        return: async (value) => (await inner.return?.(value)) ?? { done: true, value },
        throw: async (error) => {
          if (inner.throw) return inner.throw(error);
          throw error;
        },
      };
    },
  };
}
