import { Code, ConnectError } from "@connectrpc/connect";
import type { GetFileResponse } from "../../../gen/runtime/files_pb.js";
import { checkType } from "../../lib/checks.js";
import { withOnHeader } from "../../rpc/call-headers.js";
import { canceled } from "../../rpc/canceled.js";
import { RANGE_HEADER } from "../../rpc/extension-headers.js";
import type { FileContent, FileInfo, FileRange, GetOptions, OpenedFile, PutOptions } from "../files.js";
import { hasExtensions, needExtensions } from "../server-extensions.js";
import { beginCall, type StorePlace, statFile } from "./calls.js";
import { openedFile, sliceChunks } from "./download.js";
import { infoInHeaders, undefinedIfNotFound } from "./info.js";
import { FileUpload } from "./upload.js";

const RESERVED_METADATA = ["contentType", "sha256", "ifAbsent"];

/** Uploads `content` as the file `name`. */
export async function putFile(
  { transport, client, storeName }: StorePlace,
  name: string,
  content: FileContent,
  options: PutOptions,
): Promise<FileInfo | undefined> {
  const failure = beginCall("put", name, options, PUT);
  const { contentType, metadata: ownMetadata = {}, ifAbsent, onProgress, ...call } = options;
  for (const key of RESERVED_METADATA) {
    if (key in ownMetadata) throw new TypeError(`${failure}: metadata "${key}" is not free to use`);
  }
  const upload = new FileUpload(content, failure);
  try {
    const metadata: Record<string, string> = {
      contentType: contentType ?? upload.contentType,
      ...ownMetadata,
    };
    if (ifAbsent) {
      await needExtensions(transport, `${failure} only where it is absent`, call.signal, call.timeoutMs);
      metadata["ifAbsent"] = "true";
    }
    const isFairlead = await hasExtensions(transport, call.signal, call.timeoutMs);
    const first = { storeName, name, metadata: isFairlead ? metadata : { ...GO_FILE, ...metadata } };
    const messages = async function* () {
      yield first;
      for await (const data of upload.pieces(onProgress)) yield { data };
    };
    let info: FileInfo | undefined;
    const callOptions = withOnHeader(call, (headers) => {
      info = infoInHeaders(name, headers);
    });
    await client.putFile(messages(), { timeoutMs: 0, ...callOptions });
    return info;
  } catch (error) {
    throw upload.reason(error);
  } finally {
    await upload.close();
  }
}

/** Opens a download of the file `name`, and waits for its first chunk. */
export async function getFile(
  place: StorePlace,
  name: string,
  options: GetOptions,
): Promise<OpenedFile | undefined> {
  const failure = beginCall("get", name, options, { range: "object", onProgress: "function" });
  const { range: requestedRange, onProgress, ...call } = options;
  const { client, storeName } = place;
  const range = checkedRange(failure, requestedRange);
  const metadata: Record<string, string> = {};
  for (const [key, bytes] of Object.entries(range ?? {})) metadata[key] = String(bytes);
  const closed = new AbortController();
  const close = () => closed.abort(new ConnectError(`file "${name}" was closed`, Code.Canceled));
  const signal = call.signal ? AbortSignal.any([call.signal, closed.signal]) : closed.signal;
  let headers = new Headers();
  const callOptions = withOnHeader(call, (header) => {
    headers = header;
  });
  const messages = client
    .getFile({ storeName, name, metadata }, { timeoutMs: 0, ...callOptions, signal })
    [Symbol.asyncIterator]();
  try {
    const first = await undefinedIfNotFound(messages.next());
    if (!first) return undefined;
    const infoInAnswer = infoInHeaders(name, headers);
    // A further call must not pass on its headers as those of the download.
    const { onHeader, onTrailer, ...statOptions } = call;
    const info = infoInAnswer ?? (await statFile(place, name, statOptions));
    if (!info) {
      close();
      return undefined;
    }
    const all = chunksOf(first, messages, signal);
    const chunks = range && !headers.has(RANGE_HEADER) ? sliceChunks(all, range, close) : all;
    return openedFile({ info, chunks, range, isInfoExact: infoInAnswer !== undefined, close, onProgress });
  } catch (error) {
    close();
    throw error;
  }
}

/** The chunks in an answer of GetFile, from the step `first` on. */
async function* chunksOf(
  first: IteratorResult<GetFileResponse>,
  messages: AsyncIterator<GetFileResponse>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let step = first; !step.done; step = await messages.next()) {
    if (signal.aborted) throw canceled(signal);
    if (step.value.data.length > 0) yield step.value.data;
  }
}

/** The metadata that the Go runtime's store of local files requires: mode 0644; read and write, create, truncate. */
const GO_FILE = { FileMode: "420", FileFlag: "578" };

const PUT = {
  contentType: "string",
  metadata: "texts",
  ifAbsent: "boolean",
  onProgress: "function",
} as const;

/** `range` as safe integers; undefined if it is the whole file. */
function checkedRange(
  failure: string,
  range: FileRange | undefined,
): { offset: number; length?: number } | undefined {
  if (!range) return undefined;
  const bytes = (name: string, value: number): number => {
    checkType(failure, name, "number", value);
    // No file is that long, so Infinity and any such number mean the end of the file.
    if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER;
    if (Number.isInteger(value) && value >= 0) return value;
    throw new RangeError(`${failure}: ${name} must be a whole number of bytes, got ${value}`);
  };
  const offset = range.offset === undefined ? 0 : bytes("range.offset", range.offset);
  const length = range.length === undefined ? Number.MAX_SAFE_INTEGER : bytes("range.length", range.length);
  if (length < Number.MAX_SAFE_INTEGER) return { offset, length };
  return offset > 0 ? { offset } : undefined;
}
