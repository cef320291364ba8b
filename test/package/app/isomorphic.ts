import { type Client, createClient as createRawClient, type Transport } from "@connectrpc/connect";
import {
  type Codec,
  createClient,
  createState,
  type Fairlead,
  type FileStore,
  type GossipMap,
  type HeldLock,
  json,
  message,
  type Pubsub,
  type StateEntry,
  type StateStore,
  withRetry,
} from "fairlead";
import { Runtime, SayHelloRequestSchema } from "fairlead/gen/spec/proto/runtime/v1/runtime_pb.js";
import { createServer, type Engine, inProcess, memoryEngine, type Server } from "fairlead/server";
import { createWebTransport, type WebTransportOptions } from "fairlead/web";

type Cart = { items: string[] };

const options: WebTransportOptions = { useHttpGet: true, json: false };
const transport: Transport = withRetry(createWebTransport("https://server.example", options));
const fl: Fairlead = createClient(transport, { retry: { maxAttempts: 2 } });
const carts: StateStore<Cart> = fl.state<Cart>("carts", { codec: json<Cart>() });
const engine: Engine = memoryEngine();
const server: Server = createServer({ engine });

export const here = createState<string>(inProcess(), "default");
export const raw: Client<typeof Runtime> = createRawClient(Runtime, server.transport());
export const greetings: Codec<{ name: string }> = message(SayHelloRequestSchema);
export const answer: (request: Request) => Promise<Response> = server.fetch;

export async function everything(files: FileStore, events: Pubsub, signal: AbortSignal): Promise<string> {
  const cart: StateEntry<Cart> | undefined = await carts.get("u1", { signal, timeoutMs: 1000 });
  await carts.set("u1", { items: [...(cart?.value.items ?? []), "pear"] }, { ttlMs: 1000 });
  const held: HeldLock | undefined = await fl.lock().tryAcquire("order");
  await held?.release();
  const map: GossipMap<number> = await fl.openGossipMap<number>("members");
  await map.close();
  await events.publish("orders", { id: 1 });
  for await (const { name } of files.list("notes/")) return name;
  return (await (await files.get("a"))?.text()) ?? "";
}
