import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Setting, Told } from "../suite/case.js";

/** Runs the suite as a program of `command`, which may be Node, Deno or Bun. */
export async function runProgram(
  [command, ...args]: readonly [string, ...string[]],
  { script, setting, limitMs }: { script: string; setting: Setting; limitMs: number },
): Promise<Told[]> {
  const options = { timeout: limitMs, maxBuffer: 64 * 1024 ** 2 };
  const { stdout } = await promisify(execFile)(command, [...args, script, JSON.stringify(setting)], options);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Told[];
}
