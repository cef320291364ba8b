import { Code, ConnectError } from "@connectrpc/connect";
import type { FileInfo as WireInfo } from "../../../gen/runtime/files_pb.js";
import { compareUtf8 } from "../../lib/compare-utf8.js";
import type { FileInfo } from "../files.js";
import { listedInfo } from "./info.js";

/** The calls by which folders are listed. */
export interface FolderCalls {
  /** The entries of a folder, page by page; none if it does not exist. */
  pages(folder: string): AsyncIterable<readonly WireInfo[]>;
  /** Whether the entry `name` is a folder. */
  isFolder(name: string): Promise<boolean>;
}

/** How many entries are checked for being a folder at the same time. */
const BATCH_SIZE = 16;

/** How deep folders are followed, because links may form a cycle. */
const MAX_DEPTH = 64;

/**
 * The files whose names start with `prefix`, from a server that lists folders. The Go runtime's local store lists the
 * files and folders in one folder, by their base names; its object stores list the objects of a bucket, without its
 * name. The names here are those that get() takes, in byte order.
 */
export const listFolders = (calls: FolderCalls, prefix: string): AsyncGenerator<FileInfo, void, undefined> =>
  filesIn(calls, prefix.slice(0, prefix.lastIndexOf("/") + 1), prefix, 0);

/** The files in `folder` and its subfolders whose names start with `prefix`. */
async function* filesIn(
  calls: FolderCalls,
  folder: string,
  prefix: string,
  depth: number,
): AsyncGenerator<FileInfo, void, undefined> {
  if (depth > MAX_DEPTH) {
    throw new ConnectError(
      `Cannot list "${folder}": it is in more than ${MAX_DEPTH} folders`,
      Code.OutOfRange,
    );
  }
  /** Subfolders whose files are not listed yet: those of "a/" follow "a-b". */
  const pending: string[] = [];
  /** Lists the pending folders that sort before `name`, or all. */
  const listPending = async function* (name?: string): AsyncGenerator<FileInfo, void, undefined> {
    pending.sort(compareUtf8);
    while (pending[0] !== undefined && (name === undefined || compareUtf8(pending[0], name) < 0)) {
      yield* filesIn(calls, pending.shift() ?? "", prefix, depth + 1);
    }
  };
  for await (const page of calls.pages(folder)) {
    const entries = page
      .map((entry) => ({ entry, name: fullName(folder, entry.fileName) }))
      .filter(({ name }) => name.startsWith(prefix));
    for (let at = 0; at < entries.length; at += BATCH_SIZE) {
      const batch = entries.slice(at, at + BATCH_SIZE);
      // Only object stores, which have no folders, list names with a slash.
      const checks = batch.map(({ entry, name }) => !entry.fileName.includes("/") && calls.isFolder(name));
      const folders = await Promise.all(checks);
      for (const [i, { entry, name }] of batch.entries()) {
        if (folders[i]) pending.push(`${name}/`);
        else {
          yield* listPending(name);
          yield { ...listedInfo(entry), name };
        }
      }
    }
  }
  yield* listPending();
}

/** The name that get() takes for the entry `name` of a listing of `folder`. */
function fullName(folder: string, name: string): string {
  if (name.startsWith(folder)) return name;
  const bucket = folder.slice(0, folder.indexOf("/") + 1);
  const rest = folder.slice(bucket.length);
  return rest !== "" && name.startsWith(rest) ? bucket + name : folder + name;
}
