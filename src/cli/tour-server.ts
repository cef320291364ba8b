import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serveCallbacks } from "../node.js";
import { createServer } from "../server/index.js";
import { listen, nodePlatform } from "../server/node.js";

/** A server on a free port, with an app to call back, a service to invoke and a secret to read. */
export interface TourServer {
  url: string;
  /** Resolves when the app has received the event `text` on the topic "tour". */
  whenReceived(text: string): Promise<string>;
  close(): Promise<void>;
}

export async function openTourServer(): Promise<TourServer> {
  const waiting = new Map<string, (text: string) => void>();
  const callbacks = await serveCallbacks(
    {
      tour: ({ data }) => waiting.get(String(data))?.(String(data)),
    },
    { port: 0 },
  );
  const teapot = createHttpServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    response.writeHead(418, { "content-type": "text/plain" });
    response.end(`${request.method} ${request.url} ${body}`);
  });
  await new Promise<void>((resolve) => teapot.listen(0, "127.0.0.1", resolve));
  const server = createServer({
    platform: nodePlatform,
    config: {
      secrets: { default: { type: "values", values: { tour: "not for every eye" } } },
      services: { tour: { url: `http://127.0.0.1:${(teapot.address() as AddressInfo).port}` } },
      apps: { tour: { url: callbacks.url } },
    },
  });
  const listening = await listen(server, { port: 0 });
  return {
    url: listening.url,
    whenReceived: (text) => new Promise((resolve) => waiting.set(text, resolve)),
    async close() {
      await listening.close();
      await callbacks.close();
      await new Promise((resolve) => teapot.close(resolve));
    },
  };
}
