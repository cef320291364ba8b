import { constants } from "node:http2";
import {
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextValues,
  createConnectRouter,
  createContextValues,
} from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { withGrpcMessage } from "../rpc/grpc-message.js";
import { withoutProxyBuffering } from "../rpc/unbuffered.js";
import { UncopiedMessages, uncopiedResponse } from "../rpc/uncopied-messages.js";
import type { Answer } from "./one-port.js";
import { ResponseNotRead, sendResponse } from "./send-response.js";
import { toUniversalRequest } from "./universal-request.js";

export interface AnsweringOptions extends ConnectRouterOptions {
  routes(router: ConnectRouter): void;
  /** The context values that each call starts with. Default: none. */
  contextValues?: (request: Parameters<Answer>[0]) => ContextValues;
  /** Runs when a response fails for another reason than that its caller has left. Default: nothing. */
  onBroken?: (error: unknown, method: string) => void;
  /** How long a caller may read nothing of a response before it is canceled, in milliseconds. Default: 60,000. */
  stalledMs?: number;
  /** Runs when a response is canceled for that. Default: nothing. */
  onStalled?: (method: string, address: string) => void;
}

/**
 * Answers calls, and all other requests with 404, like Connect's own adapter. That one prints a stack for each caller
 * that leaves too early, leaves a caller waiting if its response fails, and throws if the host header is malformed.
 */
export function createConnectHandler({
  routes,
  contextValues,
  onBroken,
  stalledMs = 60_000,
  onStalled,
  ...options
}: AnsweringOptions): Answer {
  const { acceptCompression = [compressionGzip, compressionBrotli] } = options;
  const router = createConnectRouter({ ...options, acceptCompression });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler] as const));
  return (request, response) => {
    const handler = handlers.get(request.url.split("?", 1)[0] ?? "");
    if (!handler) {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not found\n");
      return;
    }
    const call = toUniversalRequest(request, response);
    if (!call) {
      response.writeHead(400, { "content-type": "text/plain" });
      response.end("the host header must name a host\n");
      return;
    }
    const uncopied = handler.method.methodKind === "unary" ? undefined : new UncopiedMessages();
    const values = contextValues?.(request) ?? createContextValues();
    handler({ ...call, contextValues: values.set(uncopiedResponse, uncopied) })
      .then((answer) => {
        const passed = withoutProxyBuffering(withGrpcMessage(answer, acceptCompression), handler.method);
        return sendResponse(passed, request, response, {
          uncopied,
          stalledMs,
          onStalled() {
            onStalled?.(handler.requestPath.slice(1), request.socket.remoteAddress ?? "");
            cancelStalled(request);
          },
        });
      })
      .catch((error: unknown) => {
        if (error instanceof ResponseNotRead || hasLeft(request)) return;
        response.destroy(error as Error);
        onBroken?.(ConnectError.from(error), handler.requestPath.slice(1));
      });
  };
}

/** Ends a call whose caller reads nothing of its response: the stream or, over HTTP/1.1, the connection. */
function cancelStalled({ httpVersionMajor, stream, socket }: Parameters<Answer>[0]): void {
  if (httpVersionMajor === 1) socket.destroy();
  else stream.close(constants.NGHTTP2_CANCEL);
}

/** Whether the caller has left. */
const hasLeft = ({ httpVersionMajor, stream, socket }: Parameters<Answer>[0]): boolean =>
  httpVersionMajor === 1 ? socket.destroyed : stream.destroyed;
