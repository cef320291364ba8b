/** A process that makes a backup when its parent asks for it, and reports the result. */
import { once } from "node:events";
import { backUpFolder } from "../../src/server/engines/disk/backup-folder.js";

const [folder = "", to = ""] = process.argv.slice(2);
process.on("SIGXFSZ", () => {});
process.send?.("ready");
await once(process, "message");
await backUpFolder(folder, to).then(
  () => process.send?.("done"),
  (error: Error) => process.send?.(error.message),
);
process.disconnect?.();
