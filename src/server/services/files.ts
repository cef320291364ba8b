import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { encodeBinaryHeader, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import {
  type FileInfoSchema,
  type FileRequest,
  GetFileMetaResponseSchema,
  type PutFileRequest,
  type Runtime,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { quote } from "../../lib/quote.js";
import { PIECE_BYTES, rechunk } from "../../lib/rechunk.js";
import { utf8Length } from "../../lib/utf8.js";
import { abortable } from "../../rpc/abortable.js";
import { canceled } from "../../rpc/canceled.js";
import { FILE_HEADER, RANGE_HEADER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import { connectionKey } from "../calls/connection.js";
import type { Components } from "../config/components.js";
import type { ServiceContext } from "../context.js";
import type { BlobInfo, BlobStore } from "../engine.js";
import { conflict, invalid, notFound } from "../errors.js";
import { readAhead } from "./files/read-ahead.js";
import { Uploads, type UploadTracker } from "./files/uploads.js";

type FileMethods = Pick<
  ServiceImpl<typeof Runtime>,
  "getFile" | "putFile" | "listFile" | "delFile" | "getFileMeta"
>;

const DEFAULT_PAGE = 1000;
const LARGEST_PAGE = 10_000;

/** How long after the end of an upload the client's reset may still arrive. */
const RESET_MS = 2;

/** How much of an upload is read before the engine asks for it: for most files, all of it. */
const AHEAD_BYTES = 4 * PIECE_BYTES;

/** A page ends early at this size, as gRPC clients accept at most 4 MiB by default. */
const PAGE_BYTES = 2 * 1024 ** 2;

/** The file RPCs: one blob for each file. Readers see a whole file, as it was before a write or as it is after. */
export function fileService({ engine: { blobs }, components }: ServiceContext): FileMethods {
  const uploads = new Uploads();
  /** The result of `read`. If there is none, waits for uploads of the file on the same connection and reads again. */
  const readAfterUploads = async <T>(
    name: string,
    { values, signal }: Pick<HandlerContext, "values" | "signal">,
    read: (name: string) => Promise<T | undefined>,
  ): Promise<T | undefined> => {
    const found = await read(name);
    if (found || !(await uploads.waitForSent(values.get(connectionKey), name, signal))) return found;
    return read(name);
  };

  return {
    async *getFile({ storeName, name, metadata }, call) {
      const { responseHeader, signal } = call;
      components.get("files", storeName);
      const range = rangeOf(metadata);
      const found = await readAfterUploads(blobName(storeName, name), call, (name) => blobs.get(name, range));
      if (!found) throw notFound("file", name);
      responseHeader.set(FILE_HEADER, fileHeader(found.info));
      if (range) responseHeader.set(RANGE_HEADER, contentRange(range, found.info.size));
      const content = releaseOnAbort(found.content, signal);
      for await (const data of rechunk(content, PIECE_BYTES)) yield { data };
    },

    async putFile(messages, call) {
      const upload = uploads.begin(call.values.get(connectionKey));
      try {
        return await putFile({ blobs, components }, messages, call, upload);
      } finally {
        upload.end();
      }
    },

    async listFile({ request, pageSize, marker }) {
      const { storeName, name: prefix } = request as FileRequest;
      components.get("files", storeName);
      return listFiles(blobs, { storeName, prefix, pageSize, marker });
    },

    async delFile({ request }) {
      const { storeName, name } = request as FileRequest;
      components.get("files", storeName);
      if (!(await blobs.delete(blobName(storeName, name)))) throw notFound("file", name);
      return {};
    },

    async getFileMeta({ request }, call) {
      const { storeName, name } = request as FileRequest;
      components.get("files", storeName);
      const info = await readAfterUploads(blobName(storeName, name), call, (name) => blobs.stat(name));
      if (!info) throw notFound("file", name);
      return metaResponse(info);
    },
  };
}

async function putFile(
  { blobs, components }: { blobs: BlobStore; components: Components },
  messages: AsyncIterable<PutFileRequest>,
  { responseHeader, signal }: Pick<HandlerContext, "responseHeader" | "signal">,
  upload: UploadTracker,
) {
  const requests = messages[Symbol.asyncIterator]();
  const first = await abortable(requests.next(), signal);
  const { storeName = "", name = "", metadata: fields }: Partial<PutFileRequest> = first.value ?? {};
  upload.setName(blobName(storeName, name));
  for (const [field, value] of Object.entries({ store_name: storeName, name })) {
    if (value === "") throw invalid(field, value, "must not be empty in the first message");
  }
  components.get("files", storeName);
  const { ifAbsent, ...metadata } = fields ?? {};
  const sent = readAhead(contentOf(first, requests, signal), AHEAD_BYTES, upload.setSent);
  const content = rechunk(waitForReset(sent, signal), PIECE_BYTES);
  const options = { metadata, ifAbsent: ifAbsent === "true" };
  const info = await blobs.put(blobName(storeName, name), content, options);
  if (!info) {
    const why = `file ${quote(name)} in store ${quote(storeName)}: it must not exist and it does`;
    throw conflict(why, { key: name });
  }
  responseHeader.set(FILE_HEADER, fileHeader(info));
  return {};
}

async function listFiles(
  blobs: BlobStore,
  list: { storeName: string; prefix: string; pageSize: number; marker: string },
) {
  const { storeName, prefix, pageSize, marker } = list;
  const most = Math.min(pageSize || DEFAULT_PAGE, LARGEST_PAGE);
  const files: MessageInitShape<typeof FileInfoSchema>[] = [];
  const page = (isTruncated: boolean) => ({ files, isTruncated, marker: files.at(-1)?.fileName ?? "" });
  const start = blobName(storeName, "");
  let bytes = 0;
  for await (const info of blobs.list(start + prefix, marker ? start + marker : undefined)) {
    if (files.length === most || bytes > PAGE_BYTES) return page(true);
    const fileName = info.name.slice(start.length);
    const metadata = clientMetadata(info);
    const lastModified = rfc3339(info.modifiedMs);
    files.push({ fileName, size: BigInt(info.size), lastModified, metadata });
    for (const text of [fileName, ...Object.entries(metadata).flat()]) bytes += utf8Length(text);
  }
  return page(false);
}

/** NUL separates the store and the name: the validation refuses control characters in names of stores. */
const blobName = (store: string, name: string): string => `${store}\0${name}`;

const rfc3339 = (unixMs: number): string => new Date(unixMs).toISOString();

/** The file's metadata, as clients see it. */
const clientMetadata = ({ metadata, sha256 }: BlobInfo): Record<string, string> => ({ ...metadata, sha256 });

function metaResponse(info: BlobInfo): MessageInitShape<typeof GetFileMetaResponseSchema> {
  const values = Object.entries(clientMetadata(info)).map(([key, value]) => [key, { value: [value] }]);
  return {
    size: BigInt(info.size),
    lastModified: rfc3339(info.modifiedMs),
    response: { metadata: Object.fromEntries(values) },
  };
}

const fileHeader = (info: BlobInfo): string =>
  encodeBinaryHeader(create(GetFileMetaResponseSchema, metaResponse(info)), GetFileMetaResponseSchema);

type Range = { offset: number; length?: number };

/** The range in the request's metadata, whose form was validated; undefined if there is none. */
function rangeOf({ offset, length }: Record<string, string>): Range | undefined {
  if (offset === undefined && length === undefined) return undefined;
  // An offset above Number.MAX_SAFE_INTEGER is after the end of every file.
  const bytes = (text: string) => Math.min(Number(text), Number.MAX_SAFE_INTEGER);
  return { offset: bytes(offset ?? "0"), ...(length !== undefined && { length: bytes(length) }) };
}

/** `<first>-<last>/<size>`; a star instead of the range if it is empty. */
function contentRange({ offset, length = Number.POSITIVE_INFINITY }: Range, size: number): string {
  const last = Math.min(size, offset + length) - 1;
  return `${last < offset ? "*" : `${offset}-${last}`}/${size}`;
}

/**
 * The bytes of an upload. It does not end the stream of requests if the engine stops reading, as the response could
 * then not be sent.
 */
async function* contentOf(
  first: IteratorResult<PutFileRequest>,
  requests: AsyncIterator<PutFileRequest>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let part = first; !part.done; part = await abortable(requests.next(), signal)) yield part.value.data;
}

/**
 * `content`, which fails if the client canceled the upload. A cancellation can look like the end at first: Node's
 * clients end an HTTP/2 stream just before they reset it.
 */
async function* waitForReset(
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield* content;
  for (let turn = 0; turn < 2; turn++) await sleep(RESET_MS, signal);
}

/**
 * `content`, whose iterator is returned when `signal` aborts. If the client has left, nobody resumes the call, and its
 * `finally` blocks would never run.
 */
async function* releaseOnAbort<T>(content: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const reading = content[Symbol.asyncIterator]();
  const release = () => void reading.return?.().catch(() => {});
  if (signal.aborted) release();
  signal.addEventListener("abort", release, { once: true });
  try {
    for (let step = await reading.next(); !step.done; step = await reading.next()) yield step.value;
    // The content has ended early, which must not look like the end of the file.
    if (signal.aborted) throw canceled(signal);
  } finally {
    signal.removeEventListener("abort", release);
    release();
  }
}
