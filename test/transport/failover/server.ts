/**
 * A server in a process of its own, which prints its URL. Arguments: its port, and the folder for its data; without a
 * folder its data is in memory. SIGTERM drains it, as `fairlead serve` does.
 */
import { openDiskEngine } from "../../../src/server/engines/disk/engine.js";
import { listen, nodePlatform } from "../../../src/server/node.js";
import { createServer } from "../../../src/server/server.js";

const [port = "0", folder = ""] = process.argv.slice(2);
const engine = folder ? { engine: await openDiskEngine({ folder }) } : {};
const server = createServer({ platform: nodePlatform, ...engine });
const listening = await listen(server, { port: Number(port) });
process.on("SIGTERM", () => void listening.close().then(() => process.exit()));
console.log(listening.url);
