/** A client in a process of its own, which calls a server that answers far too much, and tells what it took. */
import { ConnectError, type Transport } from "@connectrpc/connect";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";
import { createGrpcWebTransport, createWebTransport } from "../../src/web.js";

const [url = "", way = "", call = ""] = process.argv.slice(2);
const ways: Record<string, () => Transport> = {
  fetch: () => createWebTransport(url),
  json: () => createWebTransport(url, { json: true }),
  "grpc-web": () => createGrpcWebTransport(url),
  "http/1.1": () => createNodeTransport(url, { httpVersion: "1.1", compression: true }),
};
const transport = ways[way]?.();
if (!transport) throw new TypeError(`no way ${way}`);
const fl = createClient(transport, { retry: false });
const first = async () => {
  for await (const record of fl.raw.log.consume({})) return record;
  return undefined;
};
const error = await (call === "stream" ? first() : fl.hello().say("x")).catch((error: unknown) => error);
process.send?.({
  code: error instanceof ConnectError ? error.code : String(error),
  message: String(error),
  mostMiB: Math.round(process.resourceUsage().maxRSS / 1024),
});
process.exit(0);
