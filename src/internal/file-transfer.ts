import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import type { GetFileResponse } from "../../gen/runtime/file/spec/proto/runtime/v1/runtime_pb.js";
import { canceled } from "./canceled.js";
import { hasExtensions, needExtensions } from "./extensions.js";
import { cutOut, type DownloadProgress, type OpenedFile, openedFile } from "./file-download.js";
import { type FileInfo, ifThere, infoInHeaders } from "./file-info.js";
import { type Place, statFile } from "./file-listing.js";
import { type FileContent, FileUpload, type UploadProgress } from "./file-upload.js";
import { tellingHeaders } from "./headers.js";

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

/** Sends `content` to be the file `name`. */
export async function putFile(
  { transport, client, storeName }: Place,
  name: string,
  content: FileContent,
  { contentType, metadata, ifAbsent, onProgress, ...call }: PutOptions,
): Promise<FileInfo | undefined> {
  const what = `Cannot put "${name}"`;
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
}

/** Begins to read the file `name`. */
export async function getFile(
  place: Place,
  name: string,
  { range, onProgress, ...call }: GetOptions,
): Promise<OpenedFile | undefined> {
  const { client, storeName } = place;
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
    const info = described ?? (await statFile(place, name, again));
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
}

/** What the Go runtime's store of local files asks for: mode 0644; read and write, create, truncate. */
const GO_FILE = { FileMode: "420", FileFlag: "578" };

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
