import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { Runtime, FileInfo as WireInfo } from "../../../gen/runtime/files_pb.js";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { checkedName, checkOptions, type OptionType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import { hasCode } from "../errors/facts.js";
import { hasExtensions } from "../server-extensions.js";
import { listFolders } from "./folder-listing.js";
import { describedInfo, type FileInfo, listedInfo, undefinedIfNotFound } from "./info.js";

/** Where a file goes to or comes from. */
export interface Place {
  transport: Transport;
  client: Client<typeof Runtime>;
  storeName: string;
}

/** Checks the name of a file and the options of a call, and says what it is in errors. */
export function beginCall(
  doing: string,
  name: string,
  options: object,
  types?: Record<string, OptionType>,
): string {
  const what = `Cannot ${doing} ${quote(name)}`;
  checkedName(`${what}: the name`, name);
  checkOptions(what, options, types);
  return what;
}

/** What is known of the file `name`. */
export async function statFile(
  { client, storeName }: Place,
  name: string,
  call: CallOptions,
): Promise<FileInfo | undefined> {
  beginCall("stat", name, call);
  const found = await undefinedIfNotFound(client.getFileMeta({ request: { storeName, name } }, call));
  return found && describedInfo(name, found);
}

/** Removes the file `name`; false if it was not there. */
export async function deleteFile(
  { client, storeName }: Place,
  name: string,
  call: CallOptions,
): Promise<boolean> {
  beginCall("delete", name, call);
  return (await undefinedIfNotFound(client.delFile({ request: { storeName, name } }, call))) !== undefined;
}

/** The files whose names start with `prefix`, asked for by pages. */
export const listFiles = (
  place: Place,
  prefix: string,
  pageSize: number,
  call: CallOptions,
): CancelableIterator<FileInfo> =>
  cancelable((signal) => filesOf(place, prefix, pageSize, { ...call, signal }), { signal: call.signal });

async function* filesOf(
  place: Place,
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

/** The pages of a folder, none where it is not there. The one without a name is "." to some servers. */
async function* entriesOf(folder: string, pages: Pages): ReturnType<Pages> {
  const whole = pages(folder);
  let step: IteratorResult<readonly WireInfo[], void>;
  try {
    step = await whole.next();
  } catch (error) {
    if (folder === "" && hasCode(error, Code.Internal, Code.NotFound)) return yield* entriesOf(".", pages);
    if (hasCode(error, Code.NotFound)) return;
    if (folder !== "." || !hasCode(error, Code.Internal)) throw error;
    const why = 'this server lists one folder or bucket: begin the prefix with its name, as in "folder/"';
    throw new ConnectError(
      `Cannot list all files: ${why}`,
      Code.InvalidArgument,
      undefined,
      undefined,
      error,
    );
  }
  for (; !step.done; step = await whole.next()) yield step.value;
}

/** What the server lists of `name`, by pages. */
async function* pagesOf(
  { client, storeName }: Place,
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
    // Asking again from the same place would go on for ever.
    if (next === "" || next === marker) throw stuck(prefix, next);
    marker = next;
  }
}

function stuck(prefix: string, marker: string): ConnectError {
  const why = `the server says that more files follow, but not after which name (marker "${marker}")`;
  return new ConnectError(`Cannot list "${prefix}" further: ${why}`, Code.Internal);
}
