import "./counted.js";

import { createClient } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createNodeTransport, type NodeTransportOptions } from "../../../src/node.js";
import { takeCounts } from "./counted.js";

/** The calls to make: one after the other, and as many at once. */
export interface Work {
  url: string;
  options: NodeTransportOptions;
  calls: number;
  atOnce: number;
}

const clients = new Map<string, ReturnType<typeof createClient<typeof Runtime>>>();

// It makes calls, and sends its counts.
process.on("message", async ({ url, options, calls, atOnce }: Work) => {
  const key = JSON.stringify(options);
  const client = clients.get(key) ?? createClient(Runtime, createNodeTransport(url, options));
  clients.set(key, client);
  takeCounts();
  const work = async () => {
    for (let i = 0; i < calls / atOnce; i++) await client.getState({ storeName: "default", key: "k" });
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  process.send?.(takeCounts());
});
process.on("disconnect", () => process.exit());
process.send?.("ready");
