import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { build } from "esbuild";

const outdir = join(import.meta.dirname, `.tmp/${process.pid}`);
const program = join(outdir, "server.mjs");

/** Bundles the program of the servers; returns a function that removes it. */
export async function buildServerProgram(): Promise<() => Promise<void>> {
  await build({
    entryPoints: [join(import.meta.dirname, "server.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "es2022",
    // Bundled with its packages, a process starts in a fraction of the time. They require() Node modules.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    external: ["bufferutil", "utf-8-validate", "classic-level"],
  });
  return () => rm(outdir, { recursive: true, force: true });
}

/** A server in a process of its own. */
export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Ends it without a chance to say so. Resolves when it has ended. */
  kill(): Promise<void>;
  /** Stops it without closing its connections, as a machine that hangs. Only kill() ends it then. */
  stop(): void;
  /** Lets it drain. Resolves when it has ended. */
  drain(): Promise<void>;
}

export async function startServer({ port = 0, folder = "" } = {}): Promise<ServerProcess> {
  const child = spawn(process.execPath, [program, String(port), folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [url] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    once(child, "exit").then(([status]) => Promise.reject(new Error(`the server ended: ${status}`))),
  ])) as [string];
  const kill = () => end(child, "SIGKILL");
  return {
    url,
    port: Number(new URL(url).port),
    kill,
    stop: () => void child.kill("SIGSTOP"),
    drain: () => end(child, "SIGTERM"),
    [Symbol.asyncDispose]: kill,
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}
