/** A process that checks a folder, and reports the damage. */
import { checkFolder } from "../../src/server/engines/disk/check.js";

const report = await checkFolder(process.argv[2] ?? "").catch((error: Error) => error.message);
process.send?.(report);
process.disconnect?.();
