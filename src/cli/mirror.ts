import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mirrorResponse } from "../conformance/index.js";

/** An HTTP server that returns each request as JSON, for the suite's service and binding. */
export interface Mirror {
  url: string;
  close(): Promise<void>;
}

export async function openMirror(port: number, host = "127.0.0.1"): Promise<Mirror> {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
    const { method = "", url = "" } = request;
    const answer = mirrorResponse({ method, url, headers: Object.fromEntries(headers), body });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://${host}:${(server.address() as AddressInfo).port}`, close };
}
