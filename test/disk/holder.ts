/** A process that keeps a folder open until it is killed. `alias`: the process id and host that it claims to have. */
import { syncBuiltinESMExports } from "node:module";
import os from "node:os";

const [folder = "", alias] = process.argv.slice(2);
if (alias) {
  const { pid, host } = JSON.parse(alias) as { pid: number; host: string };
  Object.defineProperty(process, "pid", { value: pid });
  os.hostname = () => host;
  syncBuiltinESMExports();
}
const { openDiskEngine } = await import("../../src/server/engines/disk/engine.js");
try {
  const engine = await openDiskEngine({ folder });
  process.send?.("open");
  // An open engine does not keep the process alive.
  setInterval(() => {}, 60_000);
  process.on("message", () => void engine.close().then(() => process.exit(0)));
} catch (error) {
  process.send?.((error as Error).message);
  process.exit(1);
}
