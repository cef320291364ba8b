import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import type { GetFileResponse } from "../../../gen/runtime/files_pb.js";
import { checkType } from "../../lib/checks.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { canceled } from "../../rpc/canceled.js";
import { RANGE_HEADER } from "../../rpc/extension-headers.js";
import { hasExtensions, needExtensions } from "../server-extensions.js";
import { type DownloadProgress, type OpenedFile, openedFile, sliceChunks } from "./download.js";
import { type FileInfo, infoInHeaders, undefinedIfNotFound } from "./info.js";
import { beginCall, type Place, statFile } from "./list.js";
import { type FileContent, FileUpload, type UploadProgress } from "./upload.js";

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
  /** The first byte, a whole number; past the end there is nothing to read. Default: 0. */
  offset?: number;
  /** How many bytes, a whole number or Infinity; past the end are none. Default: all that follow. */
  length?: number;
};

/** Sends `content` to be the file `name`. */
export async function putFile(
  { transport, client, storeName }: Place,
  name: string,
  content: FileContent,
  options: PutOptions,
): Promise<FileInfo | undefined> {
  const what = beginCall("put", name, options, PUT);
  const { contentType, metadata, ifAbsent, onProgress, ...call } = options;
  for (const taken of ["contentType", "sha256", "ifAbsent"]) {
    if (metadata && taken in metadata) throw new TypeError(`${what}: metadata "${taken}" is not free to use`);
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
    const told = withOnHeader(call, (headers) => {
      info = infoInHeaders(name, headers);
    });
    await client.putFile(messages(), { timeoutMs: 0, ...told });
    return info;
  } catch (error) {
    throw upload.reason(error);
  } finally {
    await upload.close();
  }
}

/** Begins to read the file `name`. */
export async function getFile(
  place: Place,
  name: string,
  options: GetOptions,
): Promise<OpenedFile | undefined> {
  const what = beginCall("get", name, options, { range: "object", onProgress: "function" });
  const { range: wanted, onProgress, ...call } = options;
  const { client, storeName } = place;
  const range = checkedRange(what, wanted);
  const metadata: Record<string, string> = {};
  for (const [key, bytes] of Object.entries(range ?? {})) metadata[key] = String(bytes);
  const left = new AbortController();
  const close = () => left.abort(new ConnectError(`file "${name}" was closed`, Code.Canceled));
  const signal = call.signal ? AbortSignal.any([call.signal, left.signal]) : left.signal;
  let headers = new Headers();
  const told = withOnHeader(call, (header) => {
    headers = header;
  });
  const messages = client
    .getFile({ storeName, name, metadata }, { timeoutMs: 0, ...told, signal })
    [Symbol.asyncIterator]();
  const content = async function* (step: IteratorResult<GetFileResponse>) {
    for (; !step.done; step = await messages.next()) {
      if (signal.aborted) throw canceled(signal);
      if (step.value.data.length > 0) yield step.value.data;
    }
  };
  try {
    const first = await undefinedIfNotFound(messages.next());
    if (!first) return undefined;
    const described = infoInHeaders(name, headers);
    const { onHeader, onTrailer, ...again } = call;
    const info = described ?? (await statFile(place, name, again));
    if (!info) {
      close();
      return undefined;
    }
    const whole = content(first);
    const chunks = range && !headers.has(RANGE_HEADER) ? sliceChunks(whole, range, close) : whole;
    return openedFile({ info, chunks, range, exact: described !== undefined, close, onProgress });
  } catch (error) {
    close();
    throw error;
  }
}

/** What the Go runtime's store of local files asks for: mode 0644; read and write, create, truncate. */
const GO_FILE = { FileMode: "420", FileFlag: "578" };

const PUT = {
  contentType: "string",
  metadata: "texts",
  ifAbsent: "boolean",
  onProgress: "function",
} as const;

/** `range` as whole numbers that the wire can carry; undefined where it is the whole file. */
function checkedRange(
  what: string,
  range: FileRange | undefined,
): { offset: number; length?: number } | undefined {
  if (!range) return undefined;
  const bytes = (name: string, value: number): number => {
    checkType(what, name, "number", value);
    // No file is that long: what lies beyond is past the end.
    if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER;
    if (Number.isInteger(value) && value >= 0) return value;
    throw new RangeError(`${what}: ${name} must be a whole number of bytes, got ${value}`);
  };
  const offset = range.offset === undefined ? 0 : bytes("range.offset", range.offset);
  const length = range.length === undefined ? Number.MAX_SAFE_INTEGER : bytes("range.length", range.length);
  if (length < Number.MAX_SAFE_INTEGER) return { offset, length };
  return offset > 0 ? { offset } : undefined;
}
