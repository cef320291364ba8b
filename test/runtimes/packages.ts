import { execFile } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Where runtimes from npm are kept, each version in a folder of its own, for all checkouts. */
const CACHE = process.env["FAIRLEAD_RUNTIMES"] ?? join(homedir(), ".cache/fairlead-runtimes");

/** The program `path` within the npm package `spec` (with its exact version), which is installed if it is not there yet. */
export async function fromNpm(spec: string, path: string): Promise<string> {
  const folder = join(CACHE, spec);
  const program = join(folder, "node_modules", path);
  if (existsSync(program)) return program;
  console.log(`installing ${spec} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  const options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
  await promisify(execFile)("npm", ["install", ...options, "--prefix", folder, spec], { cwd: folder });
  if (existsSync(program)) return program;
  throw new Error(`npm install ${spec} brought no ${path} for ${process.platform}-${process.arch}`);
}

/** The program of a Debian package at one of `paths`; undefined where it is not installed. */
export const fromDebian = (...paths: string[]): string | undefined => paths.find((path) => existsSync(path));
