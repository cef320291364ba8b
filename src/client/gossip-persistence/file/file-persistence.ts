import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { checkedMs } from "../../../lib/count-checks.js";
import { quote } from "../../../lib/quote.js";
import type { GossipPersistence } from "../../gossip-persistence.js";
import { RecordFile } from "./record-file.js";

/** How filePersistence() stores. */
export interface FilePersistenceOptions {
  /**
   * How long a write may take to reach the disk, in milliseconds: so much can be lost in a power failure, but nothing
   * when the process is killed. 0: each write waits for the disk. Default: 1000.
   */
  syncMs?: number;
}

/**
 * Keeps gossip maps in files of `folder`, which is created if necessary: one file for each map, which records are
 * appended to. A map is open in one process at a time: in a second one, it works in memory, and `status.storageError`
 * names the first. Throws a RangeError for an invalid `syncMs`.
 *
 * @example
 * ```ts
 * import { createClient } from "fairlead";
 * import { createNodeTransport, filePersistence } from "fairlead/node";
 *
 * const fl = createClient(createNodeTransport("http://localhost:34904"));
 * const map = await fl.openGossipMap("todo", { persist: filePersistence("fairlead-data") });
 * map.set("buy", "milk"); // It is stored in a few milliseconds, and sent when the server can be reached.
 * await fl.close();
 * ```
 */
export function filePersistence(
  folder: string,
  { syncMs = 1000 }: FilePersistenceOptions = {},
): GossipPersistence {
  checkedMs(`Cannot keep gossip maps in ${quote(folder)}`, "syncMs", syncMs);
  return {
    scope: undefined,
    async open(name) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return RecordFile.open(join(folder, `${fileNameOf(name)}.gossip`), syncMs);
    },
  };
}

/** The longest part of a name that is kept in its file's name; most systems allow 255 bytes. */
const NAME_LENGTH = 80;

/** A file name for any text. It has no upper case, as some file systems ignore it. */
function fileNameOf(name: string): string {
  const safe = Buffer.from(name)
    .toString("latin1")
    .replace(/[^a-z0-9_-]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
  if (safe.length <= NAME_LENGTH) return safe;
  return `${safe.slice(0, NAME_LENGTH)}~${createHash("sha256").update(name).digest("hex")}`;
}
