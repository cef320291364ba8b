import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of `program` in PATH or /usr/sbin. If it is not installed, prints what is `skipped` and returns undefined. */
export function findProgram(program: string, skipped: string): string | undefined {
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"]) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  console.log(`skipped: ${skipped}, as ${program} is not installed`);
  return undefined;
}
