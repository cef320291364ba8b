import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const VERSION = "v1.0.5";

/** The folder in which the runner is cached. */
const BIN = join(tmpdir(), `fairlead-connectconformance-${VERSION}`);

/** The folder of the compiled programs under test. */
const PROGRAMS = join(import.meta.dirname, "../.tmp/conformance");

/** The official runner, built by Go if it is not cached; undefined without Go. */
export function installRunner(): string | undefined {
  const runner = join(BIN, "connectconformance");
  if (existsSync(runner)) return runner;
  mkdirSync(BIN, { recursive: true });
  try {
    execFileSync("go", ["install", `connectrpc.com/conformance/cmd/connectconformance@${VERSION}`], {
      env: { ...process.env, GOBIN: BIN },
      stdio: ["ignore", "inherit", "inherit"],
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
  return runner;
}

export async function buildPrograms(...names: string[]): Promise<void> {
  await build({
    entryPoints: names.map((name) => join(import.meta.dirname, `${name}.ts`)),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    outdir: PROGRAMS,
    outExtension: { ".js": ".mjs" },
    // The certificates are still in the folder.
    define: { "import.meta.dirname": JSON.stringify(join(import.meta.dirname, "../support")) },
    sourcemap: "inline",
  });
}

/** The command line of one of the programs. */
export const program = (name: string, ...args: string[]): string[] => [
  process.execPath,
  "--enable-source-maps",
  join(PROGRAMS, `${name}.mjs`),
  ...args,
];

/** Runs the runner to its end; returns whether all cases passed, and the output. */
export function run(
  runner: string,
  config: string,
  ...args: string[]
): Promise<{ passed: boolean; said: string }> {
  const child = spawn(runner, ["--conf", join(import.meta.dirname, config), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const output of [child.stdout, child.stderr]) output.on("data", (chunk: Buffer) => (said += chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ passed: code === 0, said }));
  });
}
