import { mkdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { build } from "esbuild";

/** Bundles a program of the tests for processes of its own, and returns its path. It is removed with this process. */
export async function bundleProgram(entryPoint: string): Promise<string> {
  const folder = join(import.meta.dirname, ".tmp");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `${basename(entryPoint, ".ts")}-${process.pid}.mjs`);
  await build({
    entryPoints: [entryPoint],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "es2022",
    packages: "external",
    logLevel: "error",
  });
  process.once("exit", () => rmSync(outfile, { force: true }));
  return outfile;
}
