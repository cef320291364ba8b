import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Setting, Told } from "../suite/case.js";
import { start, whileRunning } from "./child.js";

/** A worker of the one script, without `nodejs_compat`, which may reach this machine. */
const CONFIG = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (modules = [(name = "worker.js", esModule = embed "worker.js")], compatibilityDate = "2026-11-01")),
    (name = "internet", network = (allow = ["private", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;

/** Runs the suite within a request to workerd. */
export async function runWorkerd(
  workerd: string,
  { script, folder, setting, limitMs }: { script: string; folder: string; setting: Setting; limitMs: number },
): Promise<Told[]> {
  writeFileSync(join(folder, "worker.js"), script);
  writeFileSync(join(folder, "config.capnp"), CONFIG);
  const child = start(workerd, ["serve", "--control-fd=3", join(folder, "config.capnp")], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const asked = async () => {
    const port = await portOf(child.process.stdio[3] as Readable);
    const response = await fetch(`http://127.0.0.1:${port}`, {
      method: "POST",
      body: JSON.stringify(setting),
    });
    if (!response.ok) throw new Error(`workerd answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as Told[];
  };
  return whileRunning(child, limitMs, asked());
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
