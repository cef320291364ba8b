import { type CallOptions, type Client, Code, ConnectError, type Transport } from "@connectrpc/connect";
import type { Runtime } from "../../gen/runtime/file/spec/proto/runtime/v1/runtime_pb.js";
import { type CancelableIterator, cancelable } from "./cancelable.js";
import { checkedName, checkOptions, type OptionType, shown } from "./checks.js";
import { describedInfo, type FileInfo, ifThere, listedInfo } from "./file-info.js";

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
  const what = `Cannot ${doing} ${shown(name)}`;
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
  const found = await ifThere(client.getFileMeta({ request: { storeName, name } }, call));
  return found && describedInfo(name, found);
}

/** Removes the file `name`; false if it was not there. */
export async function deleteFile(
  { client, storeName }: Place,
  name: string,
  call: CallOptions,
): Promise<boolean> {
  beginCall("delete", name, call);
  return (await ifThere(client.delFile({ request: { storeName, name } }, call))) !== undefined;
}

/** The files whose names start with `prefix`, asked for by pages. */
export const listFiles = (
  place: Place,
  prefix: string,
  pageSize: number,
  call: CallOptions,
): CancelableIterator<FileInfo> =>
  cancelable((signal) => pagesOf(place, prefix, pageSize, { ...call, signal }), { signal: call.signal });

async function* pagesOf(
  { client, storeName }: Place,
  prefix: string,
  pageSize: number,
  call: CallOptions,
): AsyncGenerator<FileInfo, void, undefined> {
  const request = { storeName, name: prefix };
  for (let marker = ""; ; ) {
    const page = await client.listFile({ request, pageSize, marker }, call);
    for (const file of page.files) yield listedInfo(file);
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
