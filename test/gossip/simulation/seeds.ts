import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build, type Plugin } from "esbuild";
import type { SeedOrders, SeedResult } from "./run-seeds.js";

const root = join(import.meta.dirname, "../../..");

/** A text of a file below src/, and what replaces it. */
export interface Replacement {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** The file with the replacements. Throws if a text does not occur exactly once. */
function replaceIn(file: string, replacements: readonly Replacement[]): string {
  let text = readFileSync(join(root, "src", file), "utf8");
  for (const { find, replace } of replacements) {
    const times = text.split(find).length - 1;
    if (times !== 1) throw new Error(`src/${file} has ${times} times, not once: ${find}`);
    text = text.replace(find, () => replace);
  }
  return text;
}

const replacing = (replacements: readonly Replacement[]): Plugin => ({
  name: "replacing",
  setup({ onLoad }) {
    for (const file of new Set(replacements.map(({ file }) => file))) {
      const path = join(root, "src", file).replaceAll(/[.\\]/g, "\\$&");
      const contents = replaceIn(
        file,
        replacements.filter((each) => each.file === file),
      );
      onLoad({ filter: new RegExp(`^${path}$`) }, () => ({ contents, loader: "ts" }));
    }
  },
});

const programs = new Set<string>();
process.once("exit", () => {
  for (const program of programs) rmSync(program, { force: true });
});

/** Builds run-seeds.ts for processes of its own, with `replacements` in src/. It is removed with this process. */
export async function buildSimulation(name: string, replacements: readonly Replacement[]): Promise<string> {
  const folder = join(import.meta.dirname, ".tmp");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `${name}-${process.pid}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, "run-seeds.ts")],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "es2022",
    sourcemap: "inline",
    logLevel: "error",
    plugins: [replacing(replacements)],
  });
  programs.add(outfile);
  return outfile;
}

/** Runs seeds in one process. Calls `onResult` with each; it may return true to end the process. */
export async function runSeeds(
  program: string,
  orders: SeedOrders,
  onResult: (result: SeedResult) => boolean | undefined,
): Promise<void> {
  const child = spawn(process.execPath, ["--enable-source-maps", program, JSON.stringify(orders)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-2000);
  });
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  let isStopped = false;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      if (!isStopped && onResult(JSON.parse(line) as SeedResult)) {
        isStopped = true;
        child.kill("SIGKILL");
      }
    }
  } finally {
    child.kill("SIGKILL");
  }
  const status = await closed;
  if (status !== 0 && !isStopped) throw new Error(`the simulation ended with status ${status}: ${errors}`);
}
