import { Code, ConnectError } from "@connectrpc/connect";
import { PIECE_BYTES, rechunk } from "../../lib/rechunk.js";
import { utf8 } from "../../lib/utf8.js";
import type { FileContent, UploadProgress } from "../files.js";

/** The content of an upload, read once. It tells errors of the content from errors of the call. */
export class FileUpload {
  /** The media type of the content itself. */
  readonly contentType: string;
  /** The number of all bytes; undefined if it is unknown. */
  readonly totalBytes: number | undefined;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #isReading = false;
  #hasEnded = false;
  #isClosed = false;
  #failure: { error: unknown } | undefined;

  /**
   * Locks `content` if it is a stream. `failure` begins the message of the TypeError for content of an unknown type.
   */
  constructor(content: FileContent, failure: string) {
    const { chunks, totalBytes, contentType = "application/octet-stream" } = openContent(content, failure);
    this.#chunks = chunks;
    this.totalBytes = totalBytes;
    this.contentType = contentType;
  }

  /** The bytes in pieces for the messages of PutFile. Each piece is read after the one before it was sent. */
  async *pieces(onProgress?: (progress: UploadProgress) => void): AsyncGenerator<Uint8Array> {
    const chunks: AsyncIterator<Uint8Array> = {
      next: () => this.#run(() => this.#next()),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
    let sentBytes = 0;
    for await (const piece of rechunk({ [Symbol.asyncIterator]: () => chunks }, PIECE_BYTES)) {
      yield piece;
      sentBytes += piece.length;
      await this.#run(() => onProgress?.({ sentBytes, totalBytes: this.totalBytes }));
    }
  }

  /** The error to throw if the call failed with `error`: if the content failed first, its own error. */
  reason(error: unknown): unknown {
    return this.#failure ? this.#failure.error : error;
  }

  /** Cancels a content that was not read to its end. Idempotent. */
  async close(): Promise<void> {
    if (this.#hasEnded || this.#isClosed) return;
    this.#isClosed = true;
    const canceled = (async () => this.#chunks.return?.())().catch(() => {});
    // A generator cannot end while its next() waits, which may be for ever.
    if (!this.#isReading) await canceled;
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    let step: IteratorResult<Uint8Array>;
    this.#isReading = true;
    try {
      step = await this.#chunks.next();
    } catch (error) {
      this.#hasEnded = true;
      throw error;
    } finally {
      this.#isReading = false;
    }
    // A canceled content has ended early, which must not look like the end of the file.
    if (this.#isClosed) throw new Error("closed");
    if (step.done) this.#hasEnded = true;
    else if (!(step.value instanceof Uint8Array)) {
      throw new TypeError(`Cannot upload a ${typeof step.value}: the stream must give Uint8Array`);
    }
    return step;
  }

  /** Runs code of the caller. The call, and so the server, only sees that the upload was canceled. */
  async #run<T>(step: () => T | Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (!this.#isClosed) this.#failure ??= { error };
      throw new ConnectError("the upload was given up", Code.Canceled, undefined, undefined, error);
    }
  }
}

type OpenContent = { chunks: AsyncIterator<Uint8Array>; totalBytes?: number; contentType?: string };

function openContent(content: FileContent, failure: string): OpenContent {
  if (typeof content === "string") {
    return { ...openContent(utf8(content), failure), contentType: "text/plain; charset=utf-8" };
  }
  if (content instanceof ArrayBuffer) return openContent(new Uint8Array(content), failure);
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
    `${failure}: the content must be a Blob, a stream or async iterable of bytes, bytes or text`,
  );
}

async function* single(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Not `stream[Symbol.asyncIterator]()`: some runtimes lack it, and its return() waits for the read under way. */
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
