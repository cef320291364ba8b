/// <reference lib="esnext.disposable" preserve="true" />
import type { Interceptor } from "@connectrpc/connect";
import { createCallbacks } from "../client/pubsub/app-callback.js";
import type { CallbackOptions, EventHandlers } from "../client/pubsub.js";
import { checkedMs } from "../lib/count-checks.js";
import { createConnectHandler } from "../node-http/connect-handler.js";
import { openPort } from "../node-http/one-port.js";

export interface ServeCallbacksOptions extends CallbackOptions {
  /** The address to listen on. Default: "127.0.0.1", which other machines cannot reach. */
  host?: string;
  /** The port to listen on; 0 for any free one. Default: 9999, as in Layotto's examples. */
  port?: number;
  /** How long close() waits for open calls before it aborts them, in milliseconds. Default: 5000. */
  graceMs?: number;
  /** Connect's interceptors, around every call, such as otelServer() of `fairlead/otel`. Default: none. */
  interceptors?: Interceptor[];
}

/** An app that a runtime calls on a port. */
export interface ServedCallbacks extends AsyncDisposable {
  /** The URL to configure in the runtime, as "http://127.0.0.1:9999". */
  url: string;
  /** The port it listens on. */
  port: number;
  /** Accepts no more events, waits for open ones, then closes the port. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves AppCallback on a port, to a runtime that is configured with its URL: Connect, gRPC and gRPC-Web, over HTTP/1.1
 * and HTTP/2 without TLS. Rejects if the port cannot be opened.
 *
 * @example
 * ```ts
 * import { serveCallbacks } from "fairlead/node";
 *
 * const app = await serveCallbacks({ orders: (event) => (event.data ? "success" : "drop") }, { port: 0 });
 * console.log(app.url.startsWith("http://127.0.0.1:")); // true
 * await app.close();
 * ```
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
  const handler = createConnectHandler({ routes: createCallbacks(handlers, options), interceptors });
  const opened = await openPort(handler, { host, port });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= opened.close(graceMs));
  return { url: opened.url, port: opened.port, close, [Symbol.asyncDispose]: close };
}
