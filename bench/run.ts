import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { calls } from "./calls.js";
import { engine } from "./engine.js";
import { facade } from "./facade.js";
import { files } from "./files.js";
import { gossip } from "./gossip.js";
import { http } from "./http.js";
import { jetStream } from "./jetstream.js";
import { tunnel } from "./tunnel.js";

/** The benchmarks by name. Each prints its table. */
const BENCHES: Record<string, (quick: boolean) => Promise<boolean>> = {
  facade,
  calls,
  http,
  files,
  tunnel,
  gossip,
  engine,
  jetstream: jetStream,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false } },
});
const unknown = positionals.filter((name) => !BENCHES[name]);
if (unknown.length)
  throw new Error(`There is no bench ${unknown.join()}: they are ${Object.keys(BENCHES).join(", ")}`);

const load = () => loadavg()[0]?.toFixed(1);
console.log(
  `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}, ${new Date().toISOString().slice(0, 10)}, load ${load()}`,
);
for (const [name, bench] of Object.entries(BENCHES)) {
  if (positionals.length === 0 || positionals.includes(name)) await bench(values.quick);
}
console.log(`\nload at the end ${load()}`);
process.exit();
