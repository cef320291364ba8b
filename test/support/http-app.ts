import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What an app was asked. */
export interface Asked {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}

/** An HTTP app of the test's own, on a port. */
export interface HttpApp extends AsyncDisposable {
  url: string;
  /** What it was asked, in order. */
  asked: Asked[];
}

/** Runs an app that answers each request by `answer`, once it has read it. */
export async function httpApp(
  answer: (asked: Asked, response: ServerResponse) => void = (_asked, response) => response.end(),
): Promise<HttpApp> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks).toString() };
    asked.push(one);
    answer(one, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const dispose = async () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}`, asked, [Symbol.asyncDispose]: dispose };
}
