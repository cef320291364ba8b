import { createServer } from "fairlead/server";
import { openJetStreamEngine } from "fairlead/server/jetstream";
import { listen, nodePlatform } from "fairlead/server/node";
import { tell } from "./report.js";

const [replicas, ...servers] = process.argv.slice(2);
const engine = await openJetStreamEngine({ servers, replicas: Number(replicas) });
const { url } = await listen(createServer({ engine, platform: nodePlatform }), { port: 0 });
tell(url);
