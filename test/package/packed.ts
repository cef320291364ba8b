import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The tarball of `npm pack`, from a clean build. */
    tarball: string;
    /** A folder outside of the repository, for the projects that install it. */
    folder: string;
  }
}

const root = join(import.meta.dirname, "../..");

export function setup({ provide }: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "fairlead-package-"));
  const run = { cwd: root, encoding: "utf8" } as const;
  const output = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], run);
  // The output of the build comes first.
  const [{ filename }] = JSON.parse(output.slice(output.indexOf("[\n"))) as [{ filename: string }];
  provide("tarball", join(folder, filename));
  provide("folder", folder);
  return () => rmSync(folder, { recursive: true, force: true });
}
