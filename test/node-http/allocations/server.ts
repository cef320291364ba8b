import "./counted.js";

import { createServer } from "../../../src/server/index.js";
import { listen } from "../../../src/server/node.js";
import { takeCounts } from "./counted.js";

// The whole server with its defaults. It sends its URL, and its counts to whoever asks.
const { url } = await listen(createServer(), { port: 0 });
process.on("message", () => process.send?.(takeCounts()));
process.on("disconnect", () => process.exit());
process.send?.(url);
