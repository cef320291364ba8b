import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { type GetFileResponse, Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { isNotFound } from "./errors.js";
import { callsOf } from "./internal/calls.js";
import { canceled } from "./internal/canceled.js";
import { hasExtensions, needExtensions } from "./internal/extensions.js";
import { cutOut, type DownloadProgress, type OpenedFile, openedFile } from "./internal/file-download.js";
import { describedInfo, type FileInfo, infoInHeaders, listedInfo } from "./internal/file-info.js";
import { type FileContent, FileUpload, type UploadProgress } from "./internal/file-upload.js";
import { tellingHeaders } from "./internal/headers.js";

export type { DownloadProgress, FileContent, FileInfo, OpenedFile, UploadProgress };

/** How a file is stored. */
export interface PutOptions extends CallOptions {
  /** The media type. Default: a Blob's own, `text/plain; charset=utf-8` for text, else `application/octet-stream`. */
  contentType?: string;
  /** What to keep with the file. `contentType`, `sha256` and `ifAbsent` are taken. Default: nothing. */
  metadata?: Record<string, string>;
  /** Only where no file of that name exists, else it fails with `Code.Aborted`. Default: false. */
  ifAbsent?: boolean;
  /** Called after each piece that was sent. What it throws ends the upload. */
  onProgress?: (progress: UploadProgress) => void;
}

/** How a file is read. */
export interface GetOptions extends CallOptions {
  /** `length` bytes from `offset` on, or what there is of them. Default: the whole file. */
  range?: FileRange;
  /** Called with each piece that is read. What it throws ends the download. */
  onProgress?: (progress: DownloadProgress) => void;
}

/** A part of a file. */
export type FileRange = {
  /** The first byte, from 0; past the end there is nothing to read. */
  offset: number;
  /** How many bytes; past the end are none. Default: all that follow. */
  length?: number;
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
  /** The files whose names start with `prefix`, in byte order of their names, page by page. `ListFile` */
  list(prefix?: string, options?: ListOptions): AsyncIterable<FileInfo>;
  /** Removes the file; false if it was not there. `DelFile` */
  delete(name: string, options?: CallOptions): Promise<boolean>;
}

/** The file store that the server calls `store`. Costs nothing: the first call goes to the server. */
export function createFiles(transport: Transport, store: string): FileStore {
  const client = callsOf(Runtime, transport);
  const storeName = store;

  /** `undefined` in the place of the failure that there is no such file. */
  const ifThere = async <T>(found: Promise<T>): Promise<T | undefined> => {
    try {
      return await found;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };

  const files: FileStore = {
    async put(name, content, { contentType, metadata, ifAbsent, onProgress, ...call } = {}) {
      const what = `Cannot put "${name}"`;
      for (const taken of ["contentType", "sha256", "ifAbsent"]) {
        if (metadata && taken in metadata)
          throw new TypeError(`${what}: metadata "${taken}" is not free to use`);
      }
      const upload = new FileUpload(content, what);
      try {
        const kept: Record<string, string> = { contentType: contentType ?? upload.contentType, ...metadata };
        if (ifAbsent) {
          await needExtensions(transport, `${what} only where it is absent`, call.signal, call.timeoutMs);
          kept["ifAbsent"] = "true";
        }
        const extended = await hasExtensions(transport, call.signal, call.timeoutMs);
        const first = { storeName, name, metadata: extended ? kept : { ...GO_FILE, ...kept } };
        const messages = async function* () {
          yield first;
          for await (const data of upload.pieces(onProgress)) yield { data };
        };
        let info: FileInfo | undefined;
        const told = tellingHeaders(call, (headers) => {
          info = infoInHeaders(name, headers);
        });
        await client.putFile(messages(), { timeoutMs: 0, ...told });
        return info;
      } catch (error) {
        throw upload.reason(error);
      } finally {
        await upload.close();
      }
    },

    async get(name, { range, onProgress, ...call } = {}) {
      const metadata = rangeMetadata(name, range);
      const left = new AbortController();
      const close = () => left.abort(new ConnectError(`file "${name}" was closed`, Code.Canceled));
      const signal = call.signal ? AbortSignal.any([call.signal, left.signal]) : left.signal;
      let headers = new Headers();
      const told = tellingHeaders(call, (header) => {
        headers = header;
      });
      const options = { timeoutMs: 0, ...told, signal };
      const messages = client.getFile({ storeName, name, metadata }, options)[Symbol.asyncIterator]();
      const content = async function* (step: IteratorResult<GetFileResponse>) {
        for (; !step.done; step = await messages.next()) {
          if (signal.aborted) throw canceled(signal);
          if (step.value.data.length > 0) yield step.value.data;
        }
      };
      try {
        const first = await ifThere(messages.next());
        if (!first) return undefined;
        const described = infoInHeaders(name, headers);
        const { onHeader, onTrailer, ...again } = call;
        const info = described ?? (await files.stat(name, again));
        if (!info) {
          close();
          return undefined;
        }
        const whole = content(first);
        const chunks = range && !headers.has("fairlead-range") ? cutOut(whole, range, close) : whole;
        return openedFile({ info, chunks, range, exact: described !== undefined, close, onProgress });
      } catch (error) {
        close();
        throw error;
      }
    },

    async stat(name, call) {
      const found = await ifThere(client.getFileMeta({ request: { storeName, name } }, call));
      return found && describedInfo(name, found);
    },

    list(prefix = "", { pageSize = 1000, ...call } = {}) {
      if (!Number.isInteger(pageSize) || pageSize < 1 || pageSize > MOST_PER_PAGE) {
        const right = `must be a whole number from 1 to ${MOST_PER_PAGE}`;
        throw new RangeError(`Cannot list "${prefix}": pageSize ${right}, got ${pageSize}`);
      }
      const request = { storeName, name: prefix };
      return (async function* () {
        for (let marker = ""; ; ) {
          const page = await client.listFile({ request, pageSize, marker }, call);
          for (const file of page.files) yield listedInfo(file);
          if (!page.isTruncated) return;
          const next = page.marker || (page.files.at(-1)?.fileName ?? "");
          // Asking again from the same place would go on for ever.
          if (next === "" || next === marker) throw stuck(prefix, next);
          marker = next;
        }
      })();
    },

    async delete(name, call) {
      return (await ifThere(client.delFile({ request: { storeName, name } }, call))) !== undefined;
    },
  };
  return files;
}

/** What the Go runtime's store of local files asks for: mode 0644; read and write, create, truncate. */
const GO_FILE = { FileMode: "420", FileFlag: "578" };

const MOST_PER_PAGE = 2 ** 31 - 1;

function rangeMetadata(name: string, range: FileRange | undefined): Record<string, string> {
  const given = Object.entries({ offset: range?.offset, length: range?.length });
  const metadata: Record<string, string> = {};
  for (const [key, value] of given) {
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(
        `Cannot get "${name}": range.${key} must be a whole number of bytes, got ${value}`,
      );
    }
    metadata[key] = String(value);
  }
  return metadata;
}

function stuck(prefix: string, marker: string): ConnectError {
  const why = `the server says that more files follow, but not after which name (marker "${marker}")`;
  return new ConnectError(`Cannot list "${prefix}" further: ${why}`, Code.Internal);
}
