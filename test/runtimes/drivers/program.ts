import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Setting, Told } from "../suite/case.js";

/** What execFile() rejects with. */
type Ended = Error & { killed: boolean; code: unknown; signal: unknown; stdout: string; stderr: string };

/** Runs the suite as a program of `command`, which may be Node, Deno or Bun. It has to end by itself, and well. */
export async function runProgram(
  [command, ...args]: readonly [string, ...string[]],
  { script, setting, limitMs }: { script: string; setting: Setting; limitMs: number },
): Promise<Told[]> {
  const options = { timeout: limitMs, maxBuffer: 64 * 1024 ** 2 };
  try {
    const { stdout } = await promisify(execFile)(
      command,
      [...args, script, JSON.stringify(setting)],
      options,
    );
    return toldIn(stdout);
  } catch (error) {
    if (!(error instanceof Error && "stdout" in error)) throw error;
    const { killed, code, signal, stdout, stderr } = error as Ended;
    const how = killed ? `did not end within ${limitMs / 1000} s` : `ended with ${code ?? signal}`;
    const told = toldIn(stdout);
    const last = told.at(-1);
    const where = last ? `${last.transport} > ${last.primitive} > ${last.case}` : "nothing";
    throw new Error(`it ${how}; the last of ${told.length} cases that it told of is ${where}; ${stderr}`);
  }
}

const toldIn = (output: string): Told[] =>
  output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Told);
