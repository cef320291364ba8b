import { type CallOptions, Code, ConnectError } from "@connectrpc/connect";
import type { FileInfo as WireInfo } from "../../../gen/runtime/files_pb.js";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { hasCode } from "../errors/facts.js";
import type { FileInfo } from "../files.js";
import { hasExtensions } from "../server-extensions.js";
import { type StorePlace, statFile } from "./calls.js";
import { listFolders } from "./folder-listing.js";
import { listedInfo } from "./info.js";

/** The files whose names start with `prefix`, requested page by page. */
export const listFiles = (
  place: StorePlace,
  prefix: string,
  pageSize: number,
  call: CallOptions,
): CancelableIterator<FileInfo> =>
  cancelable((signal) => filesOf(place, prefix, pageSize, { ...call, signal }), { signal: call.signal });

async function* filesOf(
  place: StorePlace,
  prefix: string,
  pageSize: number,
  call: CallOptions,
): AsyncGenerator<FileInfo, void, undefined> {
  const pages = (name: string) => pagesOf(place, { name, prefix }, pageSize, call);
  if (await hasExtensions(place.transport, call.signal, call.timeoutMs)) {
    for await (const page of pages(prefix)) yield* page.map(listedInfo);
    return;
  }
  const isFolder = async (name: string) => {
    try {
      return (await statFile(place, name, call))?.metadata["IsDir"] === "true";
    } catch (error) {
      if (hasCode(error, Code.Unimplemented)) return false;
      throw error;
    }
  };
  yield* listFolders({ pages: (folder) => entriesOf(folder, pages), isFolder }, prefix);
}

type Pages = (name: string) => AsyncGenerator<readonly WireInfo[], void, undefined>;

/** The pages of a folder; none if it does not exist. Some servers call the root folder ".". */
async function* entriesOf(folder: string, pages: Pages): ReturnType<Pages> {
  const entries = pages(folder);
  let step: IteratorResult<readonly WireInfo[], void>;
  try {
    step = await entries.next();
  } catch (error) {
    if (folder === "" && hasCode(error, Code.Internal, Code.NotFound)) return yield* entriesOf(".", pages);
    if (hasCode(error, Code.NotFound)) return;
    if (folder !== "." || !hasCode(error, Code.Internal)) throw error;
    const reason = 'this server lists one folder or bucket: begin the prefix with its name, as in "folder/"';
    throw new ConnectError(
      `Cannot list all files: ${reason}`,
      Code.InvalidArgument,
      undefined,
      undefined,
      error,
    );
  }
  for (; !step.done; step = await entries.next()) yield step.value;
}

/** The pages that ListFile returns for `name`. */
async function* pagesOf(
  { client, storeName }: StorePlace,
  { name, prefix }: { name: string; prefix: string },
  pageSize: number,
  call: CallOptions,
): ReturnType<Pages> {
  const request = { storeName, name };
  for (let marker = ""; ; ) {
    const page = await client.listFile({ request, pageSize, marker }, call);
    yield page.files;
    if (!page.isTruncated) return;
    const next = page.marker || (page.files.at(-1)?.fileName ?? "");
    // A request from the same marker would repeat for ever.
    if (next === "" || next === marker) throw missingMarker(prefix, next);
    marker = next;
  }
}

function missingMarker(prefix: string, marker: string): ConnectError {
  const reason = `the server says that more files follow, but not after which name (marker "${marker}")`;
  return new ConnectError(`Cannot list "${prefix}" further: ${reason}`, Code.Internal);
}
