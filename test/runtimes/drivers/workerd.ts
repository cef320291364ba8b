import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Setting, Told } from "../suite/case.js";
import { start, whileRunning } from "./child.js";

/** A worker of the one script, without `nodejs_compat`, which may reach this machine. */
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

/** Runs the suite within a request to workerd. */
export function runWorkerd(
  workerd: string,
  { script, folder, setting, limitMs }: { script: string; folder: string; setting: Setting; limitMs: number },
): Promise<Told[]> {
  return withWorkerd(workerd, { script, folder, limitMs }, async (url) => {
    const response = await fetch(url, { method: "POST", body: JSON.stringify(setting) });
    if (!response.ok) throw new Error(`workerd answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as Told[];
  });
}

/** What `task` gives while the worker `script` is served at the URL that it is given. */
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

/** Which port workerd says it listens on. */
async function portOf(control: Readable): Promise<number> {
  let text = "";
  for await (const chunk of control) {
    text += chunk;
    const [line] = text.split("\n").filter((each) => each.includes('"listen"'));
    if (line) return (JSON.parse(line) as { port: number }).port;
  }
  throw new Error(`workerd did not say where it listens: ${text}`);
}
