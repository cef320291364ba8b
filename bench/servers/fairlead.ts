import { createServer } from "fairlead/server";
import { listen, nodePlatform } from "fairlead/server/node";
import { tell } from "./report.js";

const { url } = await listen(createServer({ platform: nodePlatform }), { port: 0 });
tell(url);
