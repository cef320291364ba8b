import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Where `program` is, in the PATH or where Debian keeps daemons; undefined where it is not installed, which is told. */
export function programHere(program: string, skipped: string): string | undefined {
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"]) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this one.
    }
  }
  console.log(`skipped: ${skipped}, as ${program} is not installed`);
  return undefined;
}
