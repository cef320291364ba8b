/// <reference lib="esnext.disposable" preserve="true" />
import type { Interceptor } from "@connectrpc/connect";
import { createCallbacks } from "../client/pubsub/app-callback.js";
import type { CallbackOptions, EventHandlers } from "../client/pubsub.js";
import { checkedMs } from "../lib/count-checks.js";
import { createConnectHandler } from "../node-http/connect-handler.js";
import { openPort } from "../node-http/one-port.js";

export interface ServeCallbacksOptions extends CallbackOptions {
  /** Default: "127.0.0.1", so that no one else on the network can reach it. */
  host?: string;
  /** Default: 9999, as in Layotto's examples. 0 takes any free one. */
  port?: number;
  /** How long close() lets events under way finish, in milliseconds, before it cuts them. Default: 5000. */
  graceMs?: number;
  /** Around every call, as otelServer() of `fairlead/otel`. Default: none. */
  interceptors?: Interceptor[];
}

/** An app that waits for the runtime's calls on a port. */
export interface ServedCallbacks extends AsyncDisposable {
  /** What the runtime has to be told of it, as "http://127.0.0.1:9999". */
  url: string;
  /** Where it listens. */
  port: number;
  /** Takes no more events, lets those under way finish, then closes the port. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves AppCallback on a port, to a runtime that knows its address: Connect, gRPC and gRPC-Web, over HTTP/1.1 and
 * HTTP/2 without TLS.
 */
export async function serveCallbacks<T extends Record<string, unknown>>(
  handlers: EventHandlers<T>,
  {
    host = "127.0.0.1",
    port = 9999,
    graceMs = 5000,
    interceptors = [],
    ...options
  }: ServeCallbacksOptions = {},
): Promise<ServedCallbacks> {
  checkedMs("Cannot serve callbacks", "graceMs", graceMs, { endless: true });
  const answer = createConnectHandler({ routes: createCallbacks(handlers, options), interceptors });
  const opened = await openPort(answer, { host, port });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= opened.close(graceMs));
  return { url: opened.url, port: opened.port, close, [Symbol.asyncDispose]: close };
}
