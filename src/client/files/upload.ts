import { Code, ConnectError } from "@connectrpc/connect";
import { PIECE_BYTES, rechunk } from "../../lib/rechunk.js";
import { utf8 } from "../../lib/utf8.js";

/** What a file can be made of. A stream and an async iterable are read once, piece by piece. */
export type FileContent =
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | Uint8Array
  | ArrayBuffer
  | string;

/** How far an upload is. */
export interface UploadProgress {
  /** The bytes that the transport has taken. */
  sentBytes: number;
  /** All that there are; undefined for a stream, which does not tell. */
  totalBytes: number | undefined;
}

/** One reading of a content. It tells what went wrong on this side of the wire from what went wrong beyond. */
export class FileUpload {
  /** The media type that the content has by itself. */
  readonly contentType: string;
  /** All its bytes; undefined where it does not tell. */
  readonly totalBytes: number | undefined;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #reading = false;
  #ended = false;
  #closed = false;
  #failure: { error: unknown } | undefined;

  /** Takes `content`: from here on a stream is locked. `what` begins the message where it is of no type to take. */
  constructor(content: FileContent, what: string) {
    const { chunks, totalBytes, contentType = "application/octet-stream" } = opened(content, what);
    this.#chunks = chunks;
    this.totalBytes = totalBytes;
    this.contentType = contentType;
  }

  /** The bytes in pieces for the wire; none is read before the one before it was taken. */
  async *pieces(onProgress?: (progress: UploadProgress) => void): AsyncGenerator<Uint8Array> {
    const chunks: AsyncIterator<Uint8Array> = {
      next: () => this.#own(() => this.#next()),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
    let sentBytes = 0;
    for await (const piece of rechunk({ [Symbol.asyncIterator]: () => chunks }, PIECE_BYTES)) {
      yield piece;
      sentBytes += piece.length;
      await this.#own(() => onProgress?.({ sentBytes, totalBytes: this.totalBytes }));
    }
  }

  /** What to throw where the call failed with `error`: that may be the echo of what was thrown on this side. */
  reason(error: unknown): unknown {
    return this.#failure ? this.#failure.error : error;
  }

  /** Lets go of what was not read to its end. Idempotent. */
  async close(): Promise<void> {
    if (this.#ended || this.#closed) return;
    this.#closed = true;
    const letGo = (async () => this.#chunks.return?.())().catch(() => {});
    // A generator that waits for something ends when that comes, which may be never.
    if (!this.#reading) await letGo;
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    let step: IteratorResult<Uint8Array>;
    this.#reading = true;
    try {
      step = await this.#chunks.next();
    } catch (error) {
      this.#ended = true;
      throw error;
    } finally {
      this.#reading = false;
    }
    // What was let go of has ended early, which must not look like the end of the file.
    if (this.#closed) throw new Error("closed");
    if (step.done) this.#ended = true;
    else if (!(step.value instanceof Uint8Array)) {
      throw new TypeError(`Cannot upload a ${typeof step.value}: the stream must give Uint8Array`);
    }
    return step;
  }

  /** Runs what belongs to this side. The wire, and so the server, hears only that the upload was given up. */
  async #own<T>(step: () => T | Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (!this.#closed) this.#failure ??= { error };
      throw new ConnectError("the upload was given up", Code.Canceled, undefined, undefined, error);
    }
  }
}

type Opened = { chunks: AsyncIterator<Uint8Array>; totalBytes?: number; contentType?: string };

function opened(content: FileContent, what: string): Opened {
  if (typeof content === "string") {
    return { ...opened(utf8(content), what), contentType: "text/plain; charset=utf-8" };
  }
  if (content instanceof ArrayBuffer) return opened(new Uint8Array(content), what);
  if (content instanceof Uint8Array) return { chunks: single(content), totalBytes: content.length };
  if (content instanceof Blob) {
    const { size, type } = content;
    return { chunks: chunksOf(content.stream()), totalBytes: size, ...(type && { contentType: type }) };
  }
  if (content instanceof ReadableStream) return { chunks: chunksOf(content) };
  const given: unknown = content;
  if (typeof given === "object" && given !== null && Symbol.asyncIterator in given) {
    return { chunks: content[Symbol.asyncIterator]() };
  }
  throw new TypeError(
    `${what}: the content must be a Blob, a stream or async iterable of bytes, bytes or text`,
  );
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** By hand: not every runtime's streams are iterable, and cancel() need not wait for the read under way. */
function chunksOf(stream: ReadableStream<Uint8Array>): AsyncIterator<Uint8Array> {
  const reader = stream.getReader();
  return {
    async next() {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done, value };
    },
    async return() {
      await reader.cancel();
      return { done: true, value: undefined };
    },
  };
}
