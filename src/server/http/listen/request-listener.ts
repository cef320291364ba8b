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
import type { Answer, AnswerStream } from "../../../node-http/one-port.js";
import { type Exchange, Http1Exchange, Http2Exchange } from "../../../node-http/unary/exchange.js";
import { createUnaryHandler } from "../../../node-http/unary/unary-handler.js";
import { type Connection, connectionKey } from "../../calls/connection.js";
import { stalledMessage } from "../../calls/log.js";
import { malformed } from "../../calls/malformed.js";
import type { Limits } from "../../config/config.js";
import type { Server } from "../../server.js";
import type { Cors } from "../cors.js";
import { createRequestRouter, type HttpRequestHead, type RequestRouterOptions } from "../request-router.js";
import { limitDecompression } from "./compression.js";
import { answerCustomPage, isCustomPage, type Pages } from "./custom-pages.js";

interface RequestListenerOptions extends RequestRouterOptions {
  readonly connections: Connections;
  readonly customPages: Pages | undefined;
}

/** The two ways in which a port answers its requests. */
interface RequestListener {
  readonly answer: Answer;
  readonly answerStream: AnswerStream;
}

/** Answers the requests of a port, of HTTP/1.1 and HTTP/2: calls, the server's pages and those of the user. */
export function requestListener(
  server: Server,
  { connections, customPages, ...routing }: RequestListenerOptions,
): RequestListener {
  const answerCall = callListener(server, connections);
  const route = createRequestRouter(routing);
  const answerUnary = unaryListener(server, route, routing.cors);
  const answer: Answer = (request, response) => {
    if (request.httpVersionMajor === 1) {
      const exchange = new Http1Exchange(request as never, response as never);
      if (answerUnary(exchange, connections.of(request))) return;
    }
    const { method, url, headers, httpVersionMajor, authority } = request;
    const host = (httpVersionMajor === 2 ? authority : headers.host) ?? "";
    const head = headOf({ method, url, host, headers });
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
  return {
    answer,
    answerStream: (stream, headers, connection) =>
      answerUnary(new Http2Exchange(stream, headers), connection),
  };
}

/** Answers unary calls in the usual encodings; returns false for all other requests. */
function unaryListener(
  server: Server,
  route: ReturnType<typeof createRequestRouter>,
  { expose }: Cors,
): (exchange: Exchange, connection: Connection) => boolean {
  const { limits } = server.config;
  const { routes, ...dispatch } = server.dispatch;
  const handler = createUnaryHandler<Connection>(routes, {
    ...server.options,
    ...dispatch,
    acceptCompression: compressions(limits),
    malformed,
    ...responseEvents(server),
  });
  return (exchange, connection) => {
    const unaryRoute = handler.route(exchange);
    if (!unaryRoute) return false;
    const routed = route(headOf(exchange));
    if (routed.type === "response") return false;
    handler.answer(unaryRoute, exchange, connection, (response) => {
      for (const [name, value] of Object.entries(routed.headers)) response.headers[name] ??= value;
      if (expose && routed.headers["access-control-allow-origin"])
        Object.assign(response.headers, expose(Object.keys(response.headers)));
    });
    return true;
  };
}

const compressions = (limits: Limits) =>
  [compressionGzip, compressionBrotli].map((compression) => limitDecompression(compression, limits));

/** Reports the responses that cannot be sent. */
function responseEvents({ log, config: { limits } }: Server) {
  return {
    stalledMs: limits.stalledMs,
    onStalled: (method: string, address: string) => log.warn({ method, address }, stalledMessage(limits)),
    onBroken: (err: unknown, method: string) => log.error({ err, method }, "an answer broke off"),
  };
}

/** Answers calls, and all other requests with 404. */
function callListener(server: Server, connections: Connections): Answer {
  const { limits } = server.config;
  return createConnectHandler({
    ...server.options,
    acceptCompression: compressions(limits),
    routes: server.routes,
    contextValues: (request) => createContextValues().set(connectionKey, connections.of(request)),
    ...responseEvents(server),
  });
}

function headOf({
  method,
  url,
  host,
  headers,
}: Pick<Exchange, "method" | "url" | "host" | "headers">): HttpRequestHead {
  return { method, path: pathOf(url), host, header: (name) => headers[name]?.toString() ?? null };
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
