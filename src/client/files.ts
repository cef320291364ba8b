import type { CallOptions, Transport } from "@connectrpc/connect";
import { Runtime } from "../../gen/runtime/files_pb.js";
import { checkedName, checkOptions } from "../lib/checks.js";
import { checkedCount } from "../lib/count-checks.js";
import { quote } from "../lib/quote.js";
import type { DownloadProgress, OpenedFile } from "./files/download.js";
import type { FileInfo } from "./files/info.js";
import type { FileRange, GetOptions, PutOptions } from "./files/transfer.js";
import type { FileContent, UploadProgress } from "./files/upload.js";
import { generatedClient } from "./generated-client.js";
import { lazyChunk, lazyIterator } from "./lazy.js";

export type {
  DownloadProgress,
  FileContent,
  FileInfo,
  FileRange,
  GetOptions,
  OpenedFile,
  PutOptions,
  UploadProgress,
};

/** How a listing is asked for. */
export interface ListOptions extends CallOptions {
  /** How many files a single call asks for; `timeoutMs` holds for each of them. Default: 1000. */
  pageSize?: number;
}

/** The files of one store. Their content streams both ways, so that its size does not matter. */
export interface FileStore {
  /**
   * Stores `content` under `name`, in the place of what was there: whole, once the promise resolves, or not at all.
   * Takes a stream with it: one that is not sent to its end is canceled. What a stream throws is thrown. Without
   * `timeoutMs` there is no deadline. Returns what was stored, undefined where the server does not tell. `PutFile`
   */
  put(name: string, content: FileContent, options?: PutOptions): Promise<FileInfo | undefined>;
  /**
   * Opens the file, or tells by undefined that there is none. `signal` and `timeoutMs` hold until its last byte;
   * without them it may take any time. `GetFile`
   */
  get(name: string, options?: GetOptions): Promise<OpenedFile | undefined>;
  /** What is known of the file; undefined where there is none. `GetFileMeta` */
  stat(name: string, options?: CallOptions): Promise<FileInfo | undefined>;
  /**
   * The files whose names start with `prefix`, in byte order of their names, page by page. `ListFile`
   *
   * A Go runtime lists one folder or bucket at a time: the folders below it are listed as well, after asking of each entry
   * whether it is one (`GetFileMeta`), and an object store must be given a prefix that begins with its bucket.
   */
  list(prefix?: string, options?: ListOptions): AsyncIterableIterator<FileInfo, undefined, undefined>;
  /** Removes the file; false if it was not there. `DelFile` */
  delete(name: string, options?: CallOptions): Promise<boolean>;
}

/** The file store that the server calls `store`. Costs nothing: the first call goes to the server. */
export function createFiles(transport: Transport, store: string): FileStore {
  const place = {
    transport,
    client: generatedClient(Runtime, transport),
    storeName: checkedName("the file store", store),
  };
  return {
    put: async (name, content, options = {}) => (await lazyChunk()).putFile(place, name, content, options),
    get: async (name, options = {}) => (await lazyChunk()).getFile(place, name, options),
    stat: async (name, call = {}) => (await lazyChunk()).statFile(place, name, call),
    delete: async (name, call = {}) => (await lazyChunk()).deleteFile(place, name, call),
    list(prefix = "", options = {}) {
      const what = `Cannot list ${quote(prefix)}`;
      if (prefix !== "") checkedName(`${what}: the prefix`, prefix);
      checkOptions(what, options);
      const { pageSize = 1000, ...call } = options;
      checkedCount(what, "pageSize", pageSize, MOST_PER_PAGE);
      return lazyIterator(({ listFiles }) => listFiles(place, prefix, pageSize, call));
    },
  };
}

const MOST_PER_PAGE = 2 ** 31 - 1;
