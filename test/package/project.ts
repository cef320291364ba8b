import { execFile, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { inject } from "vitest";

/** Creates a project with the package installed from its tarball, and `more` from the registry; returns its folder. */
export function project(name: string, ...more: string[]): string {
  const folder = join(inject("folder"), name);
  if (existsSync(folder)) return folder;
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  const install = [
    "install",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    "--silent",
    inject("tarball"),
    ...more,
  ];
  execFileSync("npm", install, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
  cpSync(join(import.meta.dirname, "app"), folder, { recursive: true });
  return folder;
}

/** Runs a program to its end and returns its output. If it fails, its output is the message of the error. */
export async function run(folder: string, command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd: folder });
    return stdout;
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
  }
}

/** Starts `fairlead serve` by `command` in `folder`. */
export async function serve(folder: string, ...command: string[]): Promise<Serving> {
  const [program = "", ...args] = command;
  const child = spawn(program, [...args, "serve", "--port", "0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  // npx does not forward signals, so the whole process group gets it.
  const stop = () => {
    if (child.pid) process.kill(-child.pid, "SIGTERM");
    return ended;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /Fairlead at (\S+)/.exec(line)?.[1];
    if (!url) continue;
    child.stdout.resume();
    return { url, stop, banner: line, errors: () => errors };
  }
  throw new Error(`${command.join(" ")} serve ended with ${await ended}`);
}

export interface Serving {
  url: string;
  /** The line that has the URL. */
  banner: string;
  /** The text that it has written on stderr. */
  errors(): string;
  /** Sends SIGTERM; returns the exit status, null if the signal ended npx. */
  stop(): Promise<number | null>;
}
