import { constants } from "node:http2";
import {
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextValues,
  createConnectRouter,
} from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { withGrpcMessage } from "../rpc/grpc-message.js";
import { withoutProxyBuffering } from "../rpc/unbuffered.js";
import type { Answer } from "./one-port.js";
import { NotTaken, sendAnswer } from "./send-answer.js";
import { nodeCall } from "./universal-request.js";

export interface AnsweringOptions extends ConnectRouterOptions {
  routes(router: ConnectRouter): void;
  /** What each call begins with. Default: nothing. */
  contextValues?: (request: Parameters<Answer>[0]) => ContextValues;
  /** Told of a call that broke off for another reason than that its caller has left. Default: no one is. */
  onBroken?: (error: unknown, method: string) => void;
  /** For how long nothing of an answer may be taken before it is given up, in milliseconds. Default: 60,000. */
  stalledMs?: number;
  /** Told of a call whose answer was given up for that. Default: no one is. */
  onStalled?: (method: string, address: string) => void;
}

/**
 * Answers calls, and everything else with 404: as Connect's own adapter does, which prints a stack for each caller that
 * leaves while it is answered, leaves a caller waiting whose answer breaks off, and throws at a host that is none.
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
    const call = nodeCall(request, response);
    if (!call) {
      response.writeHead(400, { "content-type": "text/plain" });
      response.end("the host header must name a host\n");
      return;
    }
    handler(contextValues ? { ...call, contextValues: contextValues(request) } : call)
      .then((answer) => {
        const passed = withoutProxyBuffering(withGrpcMessage(answer, acceptCompression), handler.method);
        return sendAnswer(passed, request, response, {
          stalledMs,
          onStalled() {
            onStalled?.(handler.requestPath.slice(1), request.socket.remoteAddress ?? "");
            giveUp(request);
          },
        });
      })
      .catch((error: unknown) => {
        if (error instanceof NotTaken || hasLeft(request)) return;
        response.destroy(error as Error);
        onBroken?.(ConnectError.from(error), handler.requestPath.slice(1));
      });
  };
}

/** Ends a call whose caller takes nothing of its answer: the stream, or, over HTTP/1.1, the connection. */
function giveUp({ httpVersionMajor, stream, socket }: Parameters<Answer>[0]): void {
  if (httpVersionMajor === 1) socket.destroy();
  else stream.close(constants.NGHTTP2_CANCEL);
}

/** Whether no one is there any more to be answered. */
const hasLeft = ({ httpVersionMajor, stream, socket }: Parameters<Answer>[0]): boolean =>
  httpVersionMajor === 1 ? socket.destroyed : stream.destroyed;
