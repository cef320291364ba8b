import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { CaseResult, Setting } from "../suite/case.js";

/** The error of execFile(). */
type ExecError = Error & { killed: boolean; code: unknown; signal: unknown; stdout: string; stderr: string };

/** Runs the suite by `command`: Node, Deno or Bun. The program must exit by itself with status 0. */
export async function runProgram(
  [command, ...args]: readonly [string, ...string[]],
  { script, setting, limitMs }: { script: string; setting: Setting; limitMs: number },
): Promise<CaseResult[]> {
  const options = { timeout: limitMs, maxBuffer: 64 * 1024 ** 2 };
  try {
    const { stdout } = await promisify(execFile)(
      command,
      [...args, script, JSON.stringify(setting)],
      options,
    );
    return resultsIn(stdout);
  } catch (error) {
    if (!(error instanceof Error && "stdout" in error)) throw error;
    const { killed, code, signal, stdout, stderr } = error as ExecError;
    const how = killed ? `did not end within ${limitMs / 1000} s` : `ended with ${code ?? signal}`;
    const results = resultsIn(stdout);
    const last = results.at(-1);
    const where = last ? `${last.transport} > ${last.primitive} > ${last.case}` : "nothing";
    throw new Error(`it ${how}; its last result, of ${results.length}, is ${where}; ${stderr}`);
  }
}

const resultsIn = (output: string): CaseResult[] =>
  output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as CaseResult);
