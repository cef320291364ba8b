import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { CaseResult, Setting } from "../suite/case.js";
import { start, whileRunning } from "./child.js";

/** The configuration of a worker with one script, without `nodejs_compat`, that may call this machine. */
const config = (bindings: Record<string, string>) => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .main), (name = "internet", network = (allow = ["private", "public"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01",
  bindings = [${Object.entries(bindings).map(([name, text]) => `(name = "${name}", text = "${text}")`)}],
);
`;

/** Runs the suite in a request to workerd. */
export function runWorkerd(
  workerd: string,
  { script, folder, setting, limitMs }: { script: string; folder: string; setting: Setting; limitMs: number },
): Promise<CaseResult[]> {
  return withWorkerd(workerd, { script, folder, limitMs }, async (url) => {
    const response = await fetch(url, { method: "POST", body: JSON.stringify(setting) });
    if (!response.ok) throw new Error(`workerd answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as CaseResult[];
  });
}

/** Serves the worker `script` while `task` runs with its URL; returns the result of `task`. */
export async function withWorkerd<T>(
  workerd: string,
  {
    script,
    folder,
    limitMs,
    bindings = {},
  }: { script: string; folder: string; limitMs: number; bindings?: Record<string, string> },
  task: (url: string) => Promise<T>,
): Promise<T> {
  writeFileSync(join(folder, "worker.js"), script);
  writeFileSync(join(folder, "config.capnp"), config(bindings));
  const child = start(workerd, ["serve", "--control-fd=3", join(folder, "config.capnp")], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const done = portOf(child.process.stdio[3] as Readable).then((port) => task(`http://127.0.0.1:${port}`));
  return whileRunning(child, limitMs, done);
}

/** The port that workerd reports. */
async function portOf(control: Readable): Promise<number> {
  let text = "";
  for await (const chunk of control) {
    text += chunk;
    const [line] = text.split("\n").filter((each) => each.includes('"listen"'));
    if (line) return (JSON.parse(line) as { port: number }).port;
  }
  throw new Error(`workerd reported no port: ${text}`);
}
