import { createClient } from "fairlead";
import { createNodeTransport, type NodeTransport, serveCallbacks } from "fairlead/node";
import { createServer } from "fairlead/server";
import { backUpFolder, type DiskEngine, openDiskEngine } from "fairlead/server/disk";
import { type Listening, listen, nodePlatform } from "fairlead/server/node";

const listening: Listening = await listen(createServer({ platform: nodePlatform }), { port: 0 });
const transport: NodeTransport = createNodeTransport(listening.url, { protocol: "grpc" });
export const greeting: string = await createClient(transport).hello().say("Ada");
const callbacks = await serveCallbacks<{ orders: { id: number } }>(
  { orders: async ({ data }) => (data.id > 0 ? "success" : "drop") },
  { port: 0 },
);
await callbacks.close();
await transport.close();
await listening.close();
export const backUp = async (): Promise<void> => {
  const engine: DiskEngine = await openDiskEngine({ folder: "data" });
  await engine.close();
  await backUpFolder("data", "backup");
};
