import { execFile } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** The folder of the runtimes from npm, with a subfolder for each version, shared by all checkouts. */
const CACHE = process.env["FAIRLEAD_RUNTIMES"] ?? join(homedir(), ".cache/fairlead-runtimes");

/** The program `path` in the npm package `spec` (with its exact version). Installs the package first if necessary. */
export async function fromNpm(spec: string, path: string): Promise<string> {
  const folder = join(CACHE, spec);
  const program = join(folder, "node_modules", path);
  if (existsSync(program)) return program;
  console.log(`installing ${spec} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  const options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
  await promisify(execFile)("npm", ["install", ...options, "--prefix", folder, spec], { cwd: folder });
  if (existsSync(program)) return program;
  throw new Error(`npm install ${spec} has no ${path} for ${process.platform}-${process.arch}`);
}

/** The first of `paths` that exists: a program of a Debian package; undefined if it is not installed. */
export const fromDebian = (...paths: string[]): string | undefined => paths.find((path) => existsSync(path));
