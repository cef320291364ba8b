import { cancelable } from "../../lib/cancelable-iterator.js";
import { asyncDispose } from "../../lib/dispose.js";
import { onAbort } from "../../lib/on-abort.js";
import { fromUtf8 } from "../../lib/utf8.js";
import type { DownloadProgress, FileInfo, OpenedFile } from "../files.js";

/** A download whose first chunk has arrived. */
export interface Download {
  info: FileInfo;
  /** The chunks of the answer. Fails after `close` was called. */
  chunks: AsyncIterator<Uint8Array>;
  /** The requested range; undefined for the whole file. */
  range: { offset: number; length?: number } | undefined;
  /** Whether `info` came with the chunks, so that it describes the same version of the file. */
  isInfoExact: boolean;
  close: () => void;
  onProgress: ((progress: DownloadProgress) => void) | undefined;
}

/** The public object of a download. */
export function openedFile(download: Download): OpenedFile {
  const { info } = download;
  const body = new DownloadBody(download);
  const close = async () => download.close();
  const file: OpenedFile = {
    info,
    stream: body.stream,
    [Symbol.asyncIterator]: () => cancelable((signal) => body.read(signal)),
    async bytes() {
      const chunks: Uint8Array[] = [];
      for await (const chunk of file) chunks.push(chunk);
      return concat(chunks);
    },
    async text() {
      return fromUtf8(await file.bytes());
    },
    async blob() {
      return new Blob([await file.bytes()], { type: info.contentType ?? "" });
    },
    response() {
      body.take().releaseLock();
      return responseOf(download, body);
    },
    close,
    [asyncDispose]: close,
  };
  return file;
}

/** The bytes of a download as a stream that can be read once. */
class DownloadBody {
  readonly totalBytes: number;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #download: Download;
  #receivedBytes = 0;
  #isTaken = false;

  constructor(download: Download) {
    const { info, range } = download;
    this.#download = download;
    this.totalBytes = range
      ? Math.max(0, Math.min(range.length ?? info.size, info.size - range.offset))
      : info.size;
    const source: UnderlyingDefaultSource<Uint8Array> = {
      pull: (controller) => this.#pull(controller),
      cancel: () => {
        this.#isTaken = true;
        download.close();
      },
    };
    // No chunk is requested before it is read.
    this.stream = new ReadableStream(source, { highWaterMark: 0 });
  }

  /** Locks the stream for its only reader. */
  take(): ReadableStreamDefaultReader<Uint8Array> {
    if (this.#isTaken || this.stream.locked) {
      throw new TypeError(`Cannot read "${this.#download.info.name}" twice: get() it again`);
    }
    this.#isTaken = true;
    return this.stream.getReader();
  }

  async *read(signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const { close } = this.#download;
    const reader = this.take();
    const stopListening = onAbort(signal, close);
    try {
      for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value;
    } finally {
      stopListening();
      close();
    }
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const { chunks, close, onProgress } = this.#download;
    this.#isTaken = true;
    try {
      const { done, value } = await chunks.next();
      if (done) return controller.close();
      this.#receivedBytes += value.length;
      onProgress?.({ receivedBytes: this.#receivedBytes, totalBytes: this.totalBytes });
      controller.enqueue(value);
    } catch (error) {
      close();
      throw error;
    }
  }
}

/** The requested part of `chunks`, from a server that sends the whole file. Calls `close` at the end of the part. */
export async function* sliceChunks(
  chunks: AsyncIterable<Uint8Array>,
  { offset, length = Number.POSITIVE_INFINITY }: { offset: number; length?: number },
  close: () => void,
): AsyncGenerator<Uint8Array> {
  const end = offset + length;
  let position = 0;
  for await (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, offset - position), Math.max(0, end - position));
    position += chunk.length;
    if (part.length > 0) yield part;
    if (position >= end) break;
  }
  close();
}

function concat(chunks: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function responseOf({ info, range, isInfoExact }: Download, { totalBytes, stream }: DownloadBody): Response {
  const { size, sha256, contentType = "", modifiedAt } = info;
  const headers = new Headers();
  // Another client may have stored a type that is not a valid header value.
  const isValidHeader = /^[\x20-\x7e]+$/.test(contentType);
  headers.set("content-type", isValidHeader ? contentType : "application/octet-stream");
  if (isInfoExact) headers.set("content-length", String(totalBytes));
  if (sha256) headers.set("etag", `"${sha256}"`);
  if (!Number.isNaN(modifiedAt.getTime())) headers.set("last-modified", modifiedAt.toUTCString());
  if (!range) return new Response(stream, { headers });
  const interval = totalBytes > 0 ? `${range.offset}-${range.offset + totalBytes - 1}` : "*";
  headers.set("content-range", `bytes ${interval}/${size}`);
  return new Response(stream, { headers, status: totalBytes > 0 ? 206 : 416 });
}
