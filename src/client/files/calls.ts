import type { CallOptions, Client, Transport } from "@connectrpc/connect";
import type { Runtime } from "../../../gen/runtime/files_pb.js";
import { checkedName, checkOptions, type OptionType } from "../../lib/checks.js";
import { quote } from "../../lib/quote.js";
import type { FileInfo } from "../files.js";
import { describedInfo, undefinedIfNotFound } from "./info.js";

/** A file store, and the client to call it. */
export interface StorePlace {
  transport: Transport;
  client: Client<typeof Runtime>;
  storeName: string;
}

/** Checks the name of a file and the options of a call. Returns the beginning of its error messages. */
export function beginCall(
  operation: string,
  name: string,
  options: object,
  types?: Record<string, OptionType>,
): string {
  const failure = `Cannot ${operation} ${quote(name)}`;
  checkedName(`${failure}: the name`, name);
  checkOptions(failure, options, types);
  return failure;
}

/** The description of the file `name`; undefined if it does not exist. */
export async function statFile(
  { client, storeName }: StorePlace,
  name: string,
  call: CallOptions,
): Promise<FileInfo | undefined> {
  beginCall("stat", name, call);
  const response = await undefinedIfNotFound(client.getFileMeta({ request: { storeName, name } }, call));
  return response && describedInfo(name, response);
}

/** Removes the file `name`; false if it did not exist. */
export async function deleteFile(
  { client, storeName }: StorePlace,
  name: string,
  call: CallOptions,
): Promise<boolean> {
  beginCall("delete", name, call);
  return (await undefinedIfNotFound(client.delFile({ request: { storeName, name } }, call))) !== undefined;
}
