import { Code, ConnectError } from "@connectrpc/connect";
import type { FileInfo as WireInfo } from "../../../gen/runtime/files_pb.js";
import { compareUtf8 } from "../../lib/utf8.js";
import { type FileInfo, listedInfo } from "./info.js";

/** The calls that a listing of folders is made of. */
export interface FolderCalls {
  /** The entries of a folder, by pages; none where there is no such folder. */
  pages(folder: string): AsyncIterable<readonly WireInfo[]>;
  /** Whether the entry of this name is a folder. */
  isFolder(name: string): Promise<boolean>;
}

/** How many entries are asked about at a time. */
const AT_A_TIME = 16;

/** How deep folders are followed: links may lead back to where they are. */
const MOST_FOLDERS = 64;

/**
 * The files whose names start with `prefix`, from a server that lists folders: the Go runtime's local store tells the
 * entries of one folder by their last name only, folders among them, and its object stores the objects of a bucket without
 * the bucket's name. The names that come are those that get() takes, in byte order.
 */
export const listFolders = (calls: FolderCalls, prefix: string): AsyncGenerator<FileInfo, void, undefined> =>
  filesIn(calls, prefix.slice(0, prefix.lastIndexOf("/") + 1), prefix, 0);

/** The files below `folder` whose names start with `prefix`. */
async function* filesIn(
  calls: FolderCalls,
  folder: string,
  prefix: string,
  depth: number,
): AsyncGenerator<FileInfo, void, undefined> {
  if (depth > MOST_FOLDERS) {
    throw new ConnectError(
      `Cannot list "${folder}": it is in more than ${MOST_FOLDERS} folders`,
      Code.OutOfRange,
    );
  }
  /** The folders that were listed and whose files come later, as those of "a/" come behind "a-b". */
  const waiting: string[] = [];
  const earlier = async function* (name?: string): AsyncGenerator<FileInfo, void, undefined> {
    waiting.sort(compareUtf8);
    while (waiting[0] !== undefined && (name === undefined || compareUtf8(waiting[0], name) < 0)) {
      yield* filesIn(calls, waiting.shift() ?? "", prefix, depth + 1);
    }
  };
  for await (const page of calls.pages(folder)) {
    const entries = page
      .map((entry) => ({ entry, name: fullName(folder, entry.fileName) }))
      .filter(({ name }) => name.startsWith(prefix));
    for (let at = 0; at < entries.length; at += AT_A_TIME) {
      const some = entries.slice(at, at + AT_A_TIME);
      // An object store has no folders, and tells names with more than one part.
      const asked = some.map(({ entry, name }) => !entry.fileName.includes("/") && calls.isFolder(name));
      const folders = await Promise.all(asked);
      for (const [i, { entry, name }] of some.entries()) {
        if (folders[i]) waiting.push(`${name}/`);
        else {
          yield* earlier(name);
          yield { ...listedInfo(entry), name };
        }
      }
    }
  }
  yield* earlier();
}

/** The name by which get() finds the entry that a listing of `folder` calls `name`. */
function fullName(folder: string, name: string): string {
  if (name.startsWith(folder)) return name;
  const bucket = folder.slice(0, folder.indexOf("/") + 1);
  const rest = folder.slice(bucket.length);
  return rest !== "" && name.startsWith(rest) ? bucket + name : folder + name;
}
