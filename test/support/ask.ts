import { request as http1Request } from "node:http";
import { connect as http2Connect } from "node:http2";
import type { Server } from "../../src/server/index.js";

/** The response to a request, whole. */
interface Answered {
  status: number;
  body: string;
  headers: Record<string, unknown>;
}

/** A request to a server; its `host` header is its authority. */
export interface Asked {
  path: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

/** Sends a request. */
export type Ask = (asked: Asked) => Promise<Answered>;

/** Sends requests to a port by HTTP/1.1. */
export const overHttp1 =
  (port: number): Ask =>
  ({ path, method = "GET", headers = {}, body }) =>
    new Promise((resolve, reject) => {
      const request = http1Request({ host: "127.0.0.1", port, path, method, headers, agent: false });
      request.once("error", reject);
      request.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, body: text, headers: response.headers }),
        );
      });
      request.end(body);
    });

/** Sends requests to a port by HTTP/2. */
export const overHttp2 =
  (port: number): Ask =>
  ({ path, method = "GET", headers: { host, ...headers } = {}, body }) =>
    new Promise((resolve, reject) => {
      const session = http2Connect(`http://127.0.0.1:${port}`);
      session.once("error", reject);
      const stream = session.request({
        ":path": path,
        ":method": method,
        ...(host !== undefined && { ":authority": host }),
        ...headers,
      });
      let answer: Record<string, unknown> = {};
      let text = "";
      stream.once("response", (headers) => {
        answer = headers;
      });
      stream.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      stream.once("error", reject);
      stream.once("end", () => {
        session.close();
        resolve({ status: Number(answer[":status"]), body: text, headers: answer });
      });
      stream.end(body);
    });

/** Hands requests to a server's fetch(). */
export const byFetch =
  ({ fetch }: Pick<Server, "fetch">): Ask =>
  async ({ path, method = "GET", headers: { host = "localhost", ...headers } = {}, body }) => {
    const init = body === undefined ? { method, headers } : { method, headers, body };
    const response = await fetch(new Request(`http://${host}${path}`, init));
    return {
      status: response.status,
      body: await response.text(),
      headers: Object.fromEntries(response.headers),
    };
  };
