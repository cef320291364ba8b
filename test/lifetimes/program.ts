import { createClient } from "../../src/index.js";
import { createNodeTransport, createTunnelTransport } from "../../src/node.js";
import { inProcess } from "../../src/server/index.js";
import { createWebTransport } from "../../src/web.js";

/** A program that opens one thing, and on SIGUSR2 closes it, or its client, and does nothing else to end. */
const [kind = "", thing = "", how = "", url = ""] = process.argv.slice(2);

const app = { appId: "shop" };
const TRANSPORTS: Record<string, () => Parameters<typeof createClient>[0]> = {
  node: () => createNodeTransport(url),
  "node-1.1": () => createNodeTransport(url, { httpVersion: "1.1" }),
  tunnel: () => createTunnelTransport(url, app),
  web: () => createWebTransport(url, app),
  "web-tunnel": () => createWebTransport(url, { ...app, prefer: "tunnel" }),
  inProcess: () => inProcess(),
};
const fl = createClient(TRANSPORTS[kind]?.() ?? url);

/** Runs the loop over `items` in the background. Returns what leaves it. */
function looping(items: AsyncIterableIterator<unknown>): () => unknown {
  const loop = async () => {
    for await (const _item of items);
  };
  void loop();
  return () => items.return?.();
}

const THINGS: Record<string, () => Promise<() => unknown>> = {
  nothing: async () => {
    await fl.hello().say("x");
    return () => {};
  },
  "pubsub.serve": async () => {
    const serving = await fl.pubsub.serve({ orders: () => "success" });
    return () => serving.close();
  },
  "service.serve": async () => {
    const serving = await fl.service.serve(() => new Response("x"));
    await serving.ready;
    return () => serving.close();
  },
  subscribe: async () => looping(fl.pubsub().subscribe("orders")),
  log: async () => looping(fl.log().read()),
  configuration: async () => {
    const open = await fl.configuration().open({ fallback: { a: "b" }, timeoutMs: 1000 });
    return () => open.close();
  },
  "gossip map": async () => {
    const map = await fl.openGossipMap("m", { offline: true });
    return () => map.close();
  },
  lock: async () => {
    const held = await fl.lock().acquire(`k${process.pid}`, { ttlMs: 10_000 });
    return () => held.release();
  },
};

const leave = await THINGS[thing]?.();
console.log("open");
process.once("SIGUSR2", () => void (how === "close" ? fl.close() : leave?.()));
