import type { Http2ServerRequest, Http2ServerResponse, OutgoingHttpHeaders } from "node:http2";
import type { Readable } from "node:stream";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { createConnectHandler } from "../../../node-http/connect-handler.js";
import type { Connections } from "../../../node-http/connections.js";
import type { Answer } from "../../../node-http/one-port.js";
import { connectionKey } from "../../calls/connection.js";
import { stalledMessage } from "../../calls/log.js";
import type { Server } from "../../server.js";
import type { Cors } from "../cors.js";
import { createRequestRouter, type HttpRequestHead, type RequestRouterOptions } from "../request-router.js";
import { limitDecompression } from "./compression.js";
import { answerCustomPage, isCustomPage, type Pages } from "./custom-pages.js";

interface RequestListenerOptions extends RequestRouterOptions {
  readonly connections: Connections;
  readonly customPages: Pages | undefined;
}

/** Answers the requests of a port, of HTTP/1.1 and HTTP/2: calls, the server's pages and those of the user. */
export function requestListener(
  server: Server,
  { connections, customPages, ...routing }: RequestListenerOptions,
): Answer {
  const answerCall = callListener(server, connections);
  const route = createRequestRouter(routing);
  return (request, response) => {
    const head = headOf(request);
    const routed = route(head);
    if (routed.type === "response") {
      discardInput(request, response);
      sendResponse(routed.response, request, response);
      return;
    }
    for (const [name, value] of Object.entries(routed.headers)) response.setHeader(name, value);
    const { expose } = routing.cors;
    if (expose && routed.headers["access-control-allow-origin"]) exposeAll(response, expose);
    if (customPages && isCustomPage(customPages, head.path)) {
      void answerCustomPage(customPages, request, response);
      return;
    }
    discardInput(request, response);
    answerCall(request, response);
  };
}

/** Answers calls, and all other requests with 404. */
function callListener(server: Server, connections: Connections): Answer {
  const { limits } = server.config;
  return createConnectHandler({
    ...server.options,
    acceptCompression: [compressionGzip, compressionBrotli].map((each) => limitDecompression(each, limits)),
    routes: server.routes,
    contextValues: (request) => createContextValues().set(connectionKey, connections.of(request)),
    stalledMs: limits.stalledMs,
    onStalled: (method, address) => server.log.warn({ method, address }, stalledMessage(limits)),
    onBroken: (err, method) => server.log.error({ err, method }, "an answer broke off"),
  });
}

function headOf(request: Http2ServerRequest): HttpRequestHead {
  const { method, url, headers, httpVersionMajor, authority } = request;
  return {
    method,
    path: pathOf(url),
    host: (httpVersionMajor === 2 ? authority : headers.host) ?? "",
    header: (name) => headers[name]?.toString() ?? null,
  };
}

/** The path in the target of a request, without its query. */
export const pathOf = (url: string): string => url.split("?", 1)[0] ?? "";

function sendResponse(
  promise: Promise<UniversalServerResponse>,
  { httpVersionMajor }: Http2ServerRequest,
  response: Http2ServerResponse,
): void {
  promise
    .then(({ header, ...rest }) => {
      // The two headers of an upgrade exist in HTTP/1.1 only.
      if (header?.has("upgrade")) {
        if (httpVersionMajor === 1) header.set("connection", "upgrade");
        else header.delete("upgrade");
      }
      return universalResponseToNodeResponse({ header, ...rest }, response);
    })
    .catch(() => response.destroy());
}

type WriteHead = (status: number, headers?: OutgoingHttpHeaders) => Http2ServerResponse;

/** Exposes all headers of a response by their names, once these are known. */
function exposeAll(response: Http2ServerResponse, expose: NonNullable<Cors["expose"]>): void {
  const writeHead = response.writeHead.bind(response) as WriteHead;
  const exposing: WriteHead = (status, headers = {}) => {
    const names = new Set([...response.getHeaderNames(), ...Object.keys(headers)]);
    return writeHead(status, { ...headers, ...expose(names) });
  };
  response.writeHead = exposing as typeof response.writeHead;
}

/**
 * Discards what a client sends after it has been answered. A client that is still uploading then reads the answer and
 * closes the connection.
 */
function discardInput(request: Http2ServerRequest, response: Http2ServerResponse): void {
  if (request.httpVersionMajor === 1) {
    response.once("finish", () => request.readableEnded || readToEnd(request));
    return;
  }
  // Over HTTP/2 the response finishes only with its stream, and a request that was read in part passes nothing on. If
  // nobody has begun to read the request, Node itself tells the client that the rest is not wanted.
  const { stream } = request;
  stream.once("finish", () => {
    if (stream.readableFlowing === null) return;
    stream.removeAllListeners("data");
    stream.resume();
  });
}

function readToEnd(input: Readable): void {
  const read = () => {
    while (input.read() !== null);
  };
  input.on("readable", read);
  read();
}
