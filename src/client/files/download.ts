/// <reference lib="esnext.disposable" preserve="true" />
import { cancelable } from "../../lib/cancelable-iterator.js";
import { asyncDispose } from "../../lib/dispose.js";
import { onAbort } from "../../lib/on-abort.js";
import { fromUtf8 } from "../../lib/utf8.js";
import type { FileInfo } from "./info.js";

/** How far a download is. */
export interface DownloadProgress {
  /** What has been read. */
  receivedBytes: number;
  /** All that will come. */
  totalBytes: number;
}

/**
 * A file being read, as it was when it was opened, whatever is written meanwhile. Its bytes can be taken once, in one
 * of the ways below, and come only as fast as they are taken. One that is not read to its end has to be closed, by
 * leaving the loop over it, by canceling its stream or by close(): until then the server keeps it open.
 */
export interface OpenedFile extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** What is known of the file. */
  readonly info: FileInfo;
  /** The bytes as a stream of the platform. */
  readonly stream: ReadableStream<Uint8Array>;
  /** All the bytes in memory. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  /** The bytes as UTF-8. */
  text(): Promise<string>;
  /** The bytes as a Blob of the file's media type. */
  blob(): Promise<Blob>;
  /** An HTTP response with the file, or the range that was asked for, as its body: for a server or service worker. */
  response(): Response;
  /** Lets go of a file that is not wanted any more. Idempotent. */
  close(): Promise<void>;
}

/** A download that has begun. */
export interface Download {
  info: FileInfo;
  /** The bytes that come; it fails once `close` was called. */
  chunks: AsyncIterator<Uint8Array>;
  /** What they are of the file, where not all of it. */
  range: { offset: number; length?: number } | undefined;
  /** Whether `info` came with them, so that it cannot be of another version. */
  exact: boolean;
  close: () => void;
  onProgress: ((progress: DownloadProgress) => void) | undefined;
}

/** Offers the bytes of a download in every form. */
export function openedFile(download: Download): OpenedFile {
  const { info, chunks, range, close, onProgress } = download;
  const totalBytes = range
    ? Math.max(0, Math.min(range.length ?? info.size, info.size - range.offset))
    : info.size;
  let receivedBytes = 0;
  let taken = false;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        taken = true;
        try {
          const { done, value } = await chunks.next();
          if (done) return controller.close();
          receivedBytes += value.length;
          onProgress?.({ receivedBytes, totalBytes });
          controller.enqueue(value);
        } catch (error) {
          close();
          throw error;
        }
      },
      cancel() {
        taken = true;
        close();
      },
    },
    // Nothing is read ahead of who reads.
    { highWaterMark: 0 },
  );

  const take = (): ReadableStreamDefaultReader<Uint8Array> => {
    if (taken || stream.locked) throw new TypeError(`Cannot read "${info.name}" twice: get() it again`);
    taken = true;
    return stream.getReader();
  };
  const closed = async () => close();
  const file: OpenedFile = {
    info,
    stream,
    [Symbol.asyncIterator]: () =>
      cancelable(async function* (signal) {
        const reader = take();
        const stop = onAbort(signal, close);
        try {
          for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value;
        } finally {
          stop();
          close();
        }
      }),
    async bytes() {
      const pieces: Uint8Array[] = [];
      for await (const piece of file) pieces.push(piece);
      return joined(pieces);
    },
    async text() {
      return fromUtf8(await file.bytes());
    },
    async blob() {
      return new Blob([await file.bytes()], { type: info.contentType ?? "" });
    },
    response() {
      take().releaseLock();
      return responseOf(download, totalBytes, stream);
    },
    close: closed,
    [asyncDispose]: closed,
  };
  return file;
}

/** The part of `chunks` that was asked for, from a server that sends all; `close` ends it once there is enough. */
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

function joined(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function responseOf({ info, range, exact }: Download, bytes: number, body: ReadableStream): Response {
  const { size, sha256, contentType = "", modifiedAt } = info;
  const headers = new Headers();
  // What another client has put as the type may not be fit for a header.
  headers.set("content-type", /^[\x20-\x7e]+$/.test(contentType) ? contentType : "application/octet-stream");
  if (exact) headers.set("content-length", String(bytes));
  if (sha256) headers.set("etag", `"${sha256}"`);
  if (!Number.isNaN(modifiedAt.getTime())) headers.set("last-modified", modifiedAt.toUTCString());
  if (!range) return new Response(body, { headers });
  const part = bytes > 0 ? `${range.offset}-${range.offset + bytes - 1}` : "*";
  headers.set("content-range", `bytes ${part}/${size}`);
  return new Response(body, { headers, status: bytes > 0 ? 206 : 416 });
}
