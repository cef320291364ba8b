import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import {
  type FileInfo,
  type GetFileMetaResponse,
  type ListFileResp,
  type PutFileRequestSchema,
  Runtime,
} from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { CaseContext } from "../case-context.js";

export const CHUNK_BYTES = 64 * 1024;

export type Part = MessageInitShape<typeof PutFileRequestSchema>;

type ReadFile = { chunks: Uint8Array[]; headers: Headers; bytes: Uint8Array; text: string };

/** The file RPCs on files that belong to the case. They are deleted at the end. */
export interface FileCalls extends CaseContext {
  readonly runtime: Client<typeof Runtime>;
  readonly storeName: string;
  /** The full name of the file that the case calls `name`. */
  file(name: string): string;
  /** Sends the messages as they are. */
  put(...parts: Part[]): Promise<unknown>;
  /** Sends the messages of `parts` as they come. */
  stream(parts: AsyncIterable<Part>, signal?: AbortSignal): Promise<unknown>;
  /** Stores a file in one message. */
  store(name: string, content?: string | Uint8Array, metadata?: Record<string, string>): Promise<unknown>;
  get(name: string, metadata?: Record<string, string>): Promise<ReadFile>;
  getMeta(name: string): Promise<GetFileMetaResponse>;
  /** The metadata of a file. */
  metadata(name: string): Promise<Record<string, string>>;
  list(prefix?: string, rest?: { pageSize?: number; marker?: string }): Promise<ListFileResp>;
  /** The names on a page, without the prefix of the case. */
  names(page: { files: FileInfo[] }): string[];
  delete(name: string): Promise<unknown>;
}

export function fileCalls(context: CaseContext): FileCalls {
  const runtime = context.client(Runtime);
  const storeName = context.stores.files;
  const file = (name: string) => context.own(name);
  const requestOf = (name: string) => ({ request: { storeName, name: file(name) } });
  const writtenNames = new Set<string>();
  const stream = (parts: AsyncIterable<Part>, signal?: AbortSignal) =>
    runtime.putFile(withGoMetadata(parts, writtenNames), signal && { signal });
  const put = (...parts: Part[]) => stream(streamOf(parts));
  const list: FileCalls["list"] = (prefix = "", { marker, ...rest } = {}) =>
    runtime.listFile({ ...requestOf(prefix), ...rest, ...(marker !== undefined && { marker }) });
  context.after(async () => {
    const deletions = [...writtenNames].map((name) => runtime.delFile({ request: { storeName, name } }));
    await Promise.allSettled(deletions);
  });
  return {
    ...context,
    runtime,
    storeName,
    file,
    put,
    stream,
    list,
    store: (name, content = name, metadata = {}) =>
      put({
        storeName,
        name: file(name),
        data: typeof content === "string" ? utf8(content) : content,
        metadata,
      }),
    async get(name, metadata = {}) {
      let headers = new Headers();
      const onHeader = (header: Headers) => {
        headers = header;
      };
      const chunks: Uint8Array[] = [];
      for await (const { data } of runtime.getFile({ storeName, name: file(name), metadata }, { onHeader })) {
        chunks.push(data);
      }
      const bytes = concat(chunks);
      return { chunks, headers, bytes, text: fromUtf8(bytes) };
    },
    getMeta: (name) => runtime.getFileMeta(requestOf(name)),
    async metadata(name) {
      const { response } = await runtime.getFileMeta(requestOf(name));
      const values = Object.entries(response?.metadata ?? {}).map(([key, { value }]) => [key, value.join()]);
      return Object.fromEntries(values);
    },
    names: ({ files }) => files.map(({ fileName }) => fileName.slice(file("").length)),
    delete: (name) => runtime.delFile(requestOf(name)),
  };
}

/** Metadata that the Go runtime's local store requires, in decimal: mode 0644; write, create and truncate. */
export const GO_FILE = { FileMode: "420", FileFlag: "578" };

/** Adds GO_FILE to the first message if it names a file. Adds the name of the file to `written`. */
async function* withGoMetadata(parts: AsyncIterable<Part>, writtenNames: Set<string>): AsyncGenerator<Part> {
  let isFirst = true;
  for await (const part of parts) {
    const names = isFirst && part.storeName && part.name;
    isFirst = false;
    if (names) writtenNames.add(part.name ?? "");
    yield names ? { ...part, metadata: { ...GO_FILE, ...part.metadata } } : part;
  }
}

export async function* streamOf<T>(parts: readonly T[]): AsyncGenerator<T> {
  yield* parts;
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
