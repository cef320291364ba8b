import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { calls } from "./calls.js";
import { facade } from "./facade.js";
import { file } from "./file.js";

const PARTS: Record<string, (quick: boolean) => Promise<boolean>> = { facade, calls, file };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false } },
});
const unknown = positionals.filter((name) => !PARTS[name]);
if (unknown.length)
  throw new Error(`There is no part ${unknown.join()}: they are ${Object.keys(PARTS).join(", ")}`);

const load = () => loadavg()[0]?.toFixed(1);
console.log(
  `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}, ${new Date().toISOString().slice(0, 10)}, load ${load()}`,
);
for (const [name, part] of Object.entries(PARTS)) {
  if (positionals.length === 0 || positionals.includes(name)) await part(values.quick);
}
console.log(`\nload at the end ${load()}`);
process.exit();
