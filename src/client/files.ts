/// <reference lib="esnext.disposable" preserve="true" />
import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/runtime/files_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import { generatedClient } from "./generated-client.js";
import { lazyIterator, lazyMethods } from "./lazy.js";

/** The files of one store. Their content is streamed in both directions, so they can be of any size. */
export interface FileStore {
  /**
   * Stores `content` under `name` and replaces a file of that name: completely when the promise resolves, or not at
   * all. A stream that is not read to its end is canceled; put() throws its errors. Without `timeoutMs` there is
   * no deadline. Returns the description of the stored file; undefined if the server does not send it. `PutFile`
   */
  put(name: string, content: FileContent, options?: PutOptions): Promise<FileInfo | undefined>;
  /**
   * Opens the file; undefined if it does not exist. `signal` and `timeoutMs` apply until its last byte is read; without
   * `timeoutMs` there is no deadline. `GetFile`
   */
  get(name: string, options?: GetOptions): Promise<OpenedFile | undefined>;
  /** The description of the file; undefined if it does not exist. `GetFileMeta` */
  stat(name: string, options?: CallOptions): Promise<FileInfo | undefined>;
  /**
   * The files whose names start with `prefix`, in byte order of their names, page by page. `ListFile`
   *
   * A Go runtime lists one folder or bucket at a time. The files of its subfolders are listed too: each entry is
   * checked for being a folder (`GetFileMeta`). On an object store `prefix` must begin with the bucket.
   */
  list(prefix?: string, options?: ListOptions): AsyncIterableIterator<FileInfo, undefined, undefined>;
  /** Removes the file; false if it did not exist. `DelFile` */
  delete(name: string, options?: CallOptions): Promise<boolean>;
}

/** The description of a file, without its content. */
export interface FileInfo {
  /** The name, as the store has it. */
  name: string;
  /** The size in bytes. */
  size: number;
  /** The time of the last write; an invalid date if the server's text for it cannot be parsed. */
  modifiedAt: Date;
  /** The media type given to put(); undefined if the server does not send it. */
  contentType: string | undefined;
  /** The SHA-256 of the content, in lower-case hex; undefined if the server does not send it. */
  sha256: string | undefined;
  /** The other metadata given to put(). */
  metadata: Record<string, string>;
}

/** The content of a file. A stream or an async iterable is read once, chunk by chunk. */
export type FileContent =
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | Uint8Array
  | ArrayBuffer
  | string;

/** Options of `put()`. */
export interface PutOptions extends CallOptions {
  /** The media type. Default: a Blob's own, `text/plain; charset=utf-8` for text, else `application/octet-stream`. */
  contentType?: string;
  /** Metadata to store with the file. `contentType`, `sha256` and `ifAbsent` are reserved. Default: none. */
  metadata?: Record<string, string>;
  /** Fails with `Code.Aborted` if a file of that name exists. Default: false. */
  ifAbsent?: boolean;
  /** Called after each chunk that was sent. An error that it throws ends the upload. */
  onProgress?: (progress: UploadProgress) => void;
}

/** The progress of an upload. */
export interface UploadProgress {
  /** The number of bytes that the transport has taken. */
  sentBytes: number;
  /** The number of all bytes; undefined for a stream, whose length is unknown. */
  totalBytes: number | undefined;
}

/** Options of `get()`. */
export interface GetOptions extends CallOptions {
  /** A part of the file; less if the file is shorter. Default: the whole file. */
  range?: FileRange;
  /** Called with each chunk that is read. An error that it throws ends the download. */
  onProgress?: (progress: DownloadProgress) => void;
}

/** A range of bytes of a file. */
export type FileRange = {
  /** The first byte, an integer; at the end of the file or beyond, the range is empty. Default: 0. */
  offset?: number;
  /** The number of bytes, an integer or Infinity. Default: all that follow. */
  length?: number;
};

/** The progress of a download. */
export interface DownloadProgress {
  /** The number of bytes that were read. */
  receivedBytes: number;
  /** The number of all bytes of the download. */
  totalBytes: number;
}

/**
 * A file being read, in the version that existed when it was opened. Its bytes can be read once, by one of the ways
 * below, and are requested only as fast as they are read. Unless it is read to its end it must be closed, because the
 * server keeps it open: leave the loop over it, cancel its stream or call close().
 */
export interface OpenedFile extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** The description of the file. */
  readonly info: FileInfo;
  /** The bytes as a ReadableStream. */
  readonly stream: ReadableStream<Uint8Array>;
  /** Reads all bytes into memory. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  /** Reads all bytes and decodes them as UTF-8. */
  text(): Promise<string>;
  /** Reads all bytes into a Blob of the file's media type. */
  blob(): Promise<Blob>;
  /** An HTTP response with the file, or the requested range, as its body: for an HTTP server or a service worker. */
  response(): Response;
  /** Ends the download. Idempotent. */
  close(): Promise<void>;
}

/** Options of `list()`. */
export interface ListOptions extends CallOptions {
  /** How many files one call requests; `timeoutMs` applies to each call. Default: 1000. */
  pageSize?: number;
}

/**
 * The file store that the server calls `store`. Makes no call.
 *
 * @example
 * ```ts
 * import { createFiles } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const transport = createNodeTransport("http://localhost:34904");
 * const files = createFiles(transport, "default");
 * await files.put("notes/today.txt", "42 parcels", { contentType: "text/plain" });
 * const file = await files.get("notes/today.txt");
 * console.log(await file?.text()); // 42 parcels
 * await transport.close();
 * ```
 */
export function createFiles(transport: Transport, store: string): FileStore {
  const place = {
    transport,
    client: generatedClient(Runtime, transport),
    storeName: checkedName("the file store", store),
  };
  return {
    ...lazyMethods(({ fileOperations }) => fileOperations(place), ["put", "get", "stat", "delete"]),
    list(prefix = "", options = {}) {
      const failure = `Cannot list ${quote(prefix)}`;
      if (prefix !== "") checkedName(`${failure}: the prefix`, prefix);
      checkOptions(failure, options);
      const { pageSize = 1000, ...call } = options;
      checkedCount(failure, "pageSize", pageSize, MAX_PAGE_SIZE);
      return lazyIterator(({ listFiles }) => listFiles(place, prefix, pageSize, call));
    },
  };
}

const MAX_PAGE_SIZE = 2 ** 31 - 1;
