import { createServer } from "fairlead/server";
import { openDiskEngine } from "fairlead/server/disk";
import { listen, nodePlatform } from "fairlead/server/node";
import { tell } from "./report.js";

const engine = await openDiskEngine({ folder: process.argv[2] ?? "" });
const { url } = await listen(createServer({ engine, platform: nodePlatform }), { port: 0 });
tell(url);
