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
import type { ServiceContext } from "../context.js";
import type { BlobInfo } from "../engine.js";
import { conflict, invalid, notFound } from "../errors.js";
import { readAhead } from "./files/read-ahead.js";
import { type Begun, Uploads } from "./files/uploads.js";

type FileMethods = Pick<
  ServiceImpl<typeof Runtime>,
  "getFile" | "putFile" | "listFile" | "delFile" | "getFileMeta"
>;

const DEFAULT_PAGE = 1000;
const LARGEST_PAGE = 10_000;

/** How long after the end of an upload its reset may still come. */
const RESET_MS = 2;

/** How much of an upload is read before the engine asks for it: of most files, all up to their end. */
const AHEAD_BYTES = 4 * PIECE_BYTES;

/** A page ends early rather than grow past what gRPC clients take by default, 4 MiB. */
const PAGE_BYTES = 2 * 1024 ** 2;

/** The file RPCs: one blob for each file, which readers see whole, as it was before a write or as it is after. */
export function fileService({ engine: { blobs }, components }: ServiceContext): FileMethods {
  const uploads = new Uploads();
  /** What `look` finds, looked at again behind an upload of the file that its client has sent to its end before. */
  const behindUploads = async <T>(
    name: string,
    { values, signal }: Pick<HandlerContext, "values" | "signal">,
    look: (name: string) => Promise<T | undefined>,
  ): Promise<T | undefined> => {
    const found = await look(name);
    if (found || !(await uploads.ended(values.get(connectionKey), name, signal))) return found;
    return look(name);
  };

  const put = async (
    messages: AsyncIterable<PutFileRequest>,
    { responseHeader, signal }: Pick<HandlerContext, "responseHeader" | "signal">,
    begun: Begun,
  ) => {
    const upload = messages[Symbol.asyncIterator]();
    const first = await abortable(upload.next(), signal);
    const { storeName = "", name = "", metadata: kept }: Partial<PutFileRequest> = first.value ?? {};
    begun.named(blobName(storeName, name));
    for (const [field, value] of Object.entries({ store_name: storeName, name })) {
      if (value === "") throw invalid(field, value, "must not be empty in the first message");
    }
    components.get("files", storeName);
    const { ifAbsent, ...metadata } = kept ?? {};
    const sent = readAhead(received(first, upload, signal), AHEAD_BYTES, begun.sent);
    const content = rechunk(unlessReset(sent, signal), PIECE_BYTES);
    const options = { metadata, ifAbsent: ifAbsent === "true" };
    const info = await blobs.put(blobName(storeName, name), content, options);
    if (!info) {
      const why = `file ${quote(name)} in store ${quote(storeName)}: it must not exist and it does`;
      throw conflict(why, { key: name });
    }
    responseHeader.set(FILE_HEADER, fileHeader(info));
    return {};
  };

  return {
    async *getFile({ storeName, name, metadata }, call) {
      const { responseHeader, signal } = call;
      components.get("files", storeName);
      const range = rangeOf(metadata);
      const found = await behindUploads(blobName(storeName, name), call, (name) => blobs.get(name, range));
      if (!found) throw notFound("file", name);
      responseHeader.set(FILE_HEADER, fileHeader(found.info));
      if (range) responseHeader.set(RANGE_HEADER, covered(range, found.info.size));
      const content = releasedBy(signal, found.content);
      for await (const data of rechunk(content, PIECE_BYTES)) yield { data };
    },

    async putFile(messages, call) {
      const begun = uploads.begin(call.values.get(connectionKey));
      try {
        return await put(messages, call, begun);
      } finally {
        begun.end();
      }
    },

    async listFile({ request, pageSize, marker }) {
      const { storeName, name: prefix } = request as FileRequest;
      components.get("files", storeName);
      const most = Math.min(pageSize || DEFAULT_PAGE, LARGEST_PAGE);
      const files: MessageInitShape<typeof FileInfoSchema>[] = [];
      const page = (isTruncated: boolean) => ({ files, isTruncated, marker: files.at(-1)?.fileName ?? "" });
      const start = blobName(storeName, "");
      let bytes = 0;
      for await (const info of blobs.list(start + prefix, marker ? start + marker : undefined)) {
        if (files.length === most || bytes > PAGE_BYTES) return page(true);
        const fileName = info.name.slice(start.length);
        const metadata = keptWith(info);
        const lastModified = rfc3339(info.modifiedMs);
        files.push({ fileName, size: BigInt(info.size), lastModified, metadata });
        for (const text of [fileName, ...Object.entries(metadata).flat()]) bytes += utf8Length(text);
      }
      return page(false);
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
      const info = await behindUploads(blobName(storeName, name), call, (name) => blobs.stat(name));
      if (!info) throw notFound("file", name);
      return described(info);
    },
  };
}

/** NUL ends the store: the guard keeps control characters out of its name. */
const blobName = (store: string, name: string): string => `${store}\0${name}`;

const rfc3339 = (unixMs: number): string => new Date(unixMs).toISOString();

/** What clients see as the file's metadata. */
const keptWith = ({ metadata, sha256 }: BlobInfo): Record<string, string> => ({ ...metadata, sha256 });

function described(info: BlobInfo): MessageInitShape<typeof GetFileMetaResponseSchema> {
  const values = Object.entries(keptWith(info)).map(([key, value]) => [key, { value: [value] }]);
  return {
    size: BigInt(info.size),
    lastModified: rfc3339(info.modifiedMs),
    response: { metadata: Object.fromEntries(values) },
  };
}

const fileHeader = (info: BlobInfo): string =>
  encodeBinaryHeader(create(GetFileMetaResponseSchema, described(info)), GetFileMetaResponseSchema);

type Range = { offset: number; length?: number };

/** The range that the metadata asks for, whose form the guard has checked; undefined where it asks for none. */
function rangeOf({ offset, length }: Record<string, string>): Range | undefined {
  if (offset === undefined && length === undefined) return undefined;
  // No file is as long as what a number cannot tell exactly: it is past the end.
  const bytes = (text: string) => Math.min(Number(text), Number.MAX_SAFE_INTEGER);
  return { offset: bytes(offset ?? "0"), ...(length !== undefined && { length: bytes(length) }) };
}

function covered({ offset, length = Number.POSITIVE_INFINITY }: Range, size: number): string {
  const last = Math.min(size, offset + length) - 1;
  return `${last < offset ? "*" : `${offset}-${last}`}/${size}`;
}

/**
 * The bytes of an upload. It does not end the stream of requests where the engine stops reading, for a stream cut off
 * could not carry the answer.
 */
async function* received(
  first: IteratorResult<PutFileRequest>,
  upload: AsyncIterator<PutFileRequest>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let part = first; !part.done; part = await abortable(upload.next(), signal)) yield part.value.data;
}

/**
 * `content`, which fails where the client has given up. On some ways that looks like the end at first: the clients of
 * Node end an HTTP/2 stream just before they reset it.
 */
async function* unlessReset(
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield* content;
  for (let turn = 0; turn < 2; turn++) await sleep(RESET_MS, signal);
}

/**
 * `content`, let go of as soon as `signal` aborts: nobody resumes the call of a reader that has left, so no
 * `finally` of it would ever run.
 */
async function* releasedBy<T>(signal: AbortSignal, content: AsyncIterable<T>): AsyncGenerator<T> {
  const reading = content[Symbol.asyncIterator]();
  const release = () => void reading.return?.().catch(() => {});
  if (signal.aborted) release();
  signal.addEventListener("abort", release, { once: true });
  try {
    for (let step = await reading.next(); !step.done; step = await reading.next()) yield step.value;
    // What was let go of has ended early, which must not look like the end of the file.
    if (signal.aborted) throw canceled(signal);
  } finally {
    signal.removeEventListener("abort", release);
    release();
  }
}
