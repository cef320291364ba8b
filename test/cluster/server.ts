/** A reference server on the JetStream engine, as `fairlead serve --jetstream` runs it, for a process of its own. */
import { openJetStreamEngine } from "../../src/server/jetstream.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { lineLog } from "./line-log.js";

export interface ServerSettings {
  port: number;
  /** The URLs of the NATS nodes. */
  servers: string[];
  /** What the names of the engine's streams begin with. */
  engine: string;
  replicas: number;
}

const { port, servers, engine: name, replicas } = JSON.parse(process.argv[2] ?? "{}") as ServerSettings;
const log = lineLog();
const engine = await openJetStreamEngine({ servers, name, replicas, log });
const listening = await listen(createServer({ engine, platform: nodePlatform, log }), {
  port,
  graceMs: 3000,
});
process.once("SIGTERM", () => {
  void listening.close().then(() => process.exit(0));
});
process.once("disconnect", () => process.exit(1));
process.send?.("ready");
