/** The code that runs on a machine of the simulation. It is bundled, and evaluated once for each machine. */
export { Code, ConnectError, createConnectRouter } from "@connectrpc/connect";
export { createTransport } from "@connectrpc/connect/protocol-connect";

import { infoIn } from "../../src/client/errors/facts.js";

export { conflictFacts } from "../../src/client/errors.js";
export { createMap } from "../../src/client/map.js";
export { EngineFault } from "../../src/server/engine.js";
export { memoryEngine } from "../../src/server/engines/memory.js";
export { createServer } from "../../src/server/server.js";

/** The URL of the primary, if a server that is not the primary has told it. */
export const primaryIn = (error: unknown): string | undefined => infoIn(error)?.["primary"];
