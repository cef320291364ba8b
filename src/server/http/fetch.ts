import { type ConnectRouter, type ConnectRouterOptions, createConnectRouter } from "@connectrpc/connect";
import { createFetchHandler, universalServerResponseToFetch } from "@connectrpc/connect/protocol";
import { withGrpcMessage } from "../../rpc/grpc-message.js";
import { withoutProxyBuffering } from "../../rpc/unbuffered.js";
import type { Handle } from "../calls/wrap-handlers.js";
import { addExposedHeaders } from "./cors.js";
import { createRequestRouter, type RequestRouterOptions } from "./request-router.js";

/** Makes the fetch() of a server: answers the calls that `register` registers, and the server's pages. */
export function fetchHandler(
  register: (router: ConnectRouter) => void,
  options: ConnectRouterOptions,
  { check, cors, pages }: RequestRouterOptions,
): (request: Request) => Promise<Response> {
  const handlers = callHandlers(register, options);
  const route = createRequestRouter({ check, cors, pages });
  return async (request) => {
    const url = new URL(request.url);
    const routed = route({
      method: request.method,
      path: url.pathname,
      host: request.headers.get("host") ?? url.host,
      header: (name) => request.headers.get(name),
    });
    if (routed.type === "response") return universalServerResponseToFetch(await routed.response);
    const response = await (isGrpc(request)
      ? grpcUnsupported()
      : answerCall(handlers.get(url.pathname), request));
    for (const [name, value] of Object.entries(routed.headers)) {
      if (name === "cache-control") response.headers.set(name, value);
      else response.headers.append(name, value);
    }
    addExposedHeaders(response.headers, cors);
    return response;
  };
}

type FetchHandler = (request: Request) => Promise<Response>;

/** The handlers of all calls by their paths. */
function callHandlers(
  register: (router: ConnectRouter) => void,
  options: ConnectRouterOptions,
): ReadonlyMap<string, FetchHandler> {
  const router = createConnectRouter({ ...options, grpc: false });
  register(router);
  return new Map(
    router.handlers.map((handler) => {
      const answer: Handle = async (request) =>
        withoutProxyBuffering(withGrpcMessage(await handler(request)), handler.method);
      return [handler.requestPath, createFetchHandler(Object.assign(answer, { ...handler }))] as const;
    }),
  );
}

/** Whether a request is of gRPC proper, whose trailers fetch cannot send. */
const isGrpc = ({ headers }: Request): boolean =>
  /^application\/grpc(?!-web)/.test(headers.get("content-type") ?? "");

const grpcUnsupported = (): Response => new Response(null, { status: 415 });

async function answerCall(handler: FetchHandler | undefined, request: Request): Promise<Response> {
  if (handler) return handler(request);
  const body = request.method === "HEAD" ? null : "not found\n";
  return new Response(body, { status: 404, headers: { "content-type": "text/plain" } });
}
