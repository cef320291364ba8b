import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  createConnectRouter,
  createRouterTransport,
  type Transport,
} from "@connectrpc/connect";
import { createFetchHandler } from "@connectrpc/connect/protocol";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { jsonWithAny, takeAnyInJson } from "../internal/any-in-json.js";
import { expectManyListeners } from "../internal/many-listeners.js";
import { answers } from "./answers.js";
import { Components } from "./components.js";
import { type Config, type ConfigInput, parseConfig } from "./config.js";
import { type Log, type Platform, type ServiceContext, silent } from "./context.js";
import { allowOrigin, preflight } from "./cors.js";
import type { Engine } from "./engine.js";
import { memoryEngine } from "./engines/memory.js";
import { unavailable } from "./faults.js";
import { guard } from "./guard.js";
import { routes } from "./routes.js";
import { startApps } from "./services/apps.js";

export interface ServerOptions {
  /** What keeps the data. Closed with the server. Default: a memory engine with the configured bounds. */
  engine?: Engine;
  /** The components and limits. Default: a `default` store of each kind, the `helloworld` greeting, an `echo` binding. */
  config?: ConfigInput;
  /** What the place it runs in offers. Default: fetch, no environment, no files. */
  platform?: Partial<Platform>;
  /** Where it tells of what it does. Default: nowhere. */
  log?: Log;
}

/** Every service of the API, ready to be put behind any door. */
export interface Server extends AsyncDisposable {
  /** Registers the services with a Connect router, as every Connect adapter takes them. */
  readonly routes: (router: ConnectRouter) => void;
  /** What the router must be made with: the guard, the error table and the limits. */
  readonly options: ConnectRouterOptions;
  /** The configuration with its defaults, as it was at the start. */
  readonly config: Config;
  /** What keeps the data. */
  readonly engine: Engine;
  /** Answers one HTTP request: Connect and gRPC-Web calls, CORS, `/healthz`. For any runtime with fetch's types. */
  fetch(request: Request): Promise<Response>;
  /** Calls this server from its own process, without a socket. */
  transport(): Transport;
  /** Ends the streams under way, with `unavailable`; unary calls go on. The first step of a close that waits for them. */
  endStreams(): void;
  /** Ends the streams, then closes the engine. Idempotent. */
  close(): Promise<void>;
}

/** Makes a server. It needs nothing of Node: listenNode() puts it on a port, and `fetch` fits everything else. */
export function createServer({ engine: given, config, platform, log = silent }: ServerOptions = {}): Server {
  const closing = new AbortController();
  expectManyListeners(closing.signal);
  const checked = parseConfig(config);
  const { limits } = checked;
  const engine = given ?? memoryEngine(checked.engines.memory);
  const context: ServiceContext = {
    engine,
    limits,
    gossip: checked.gossip,
    log,
    components: new Components(checked),
    platform: { ...anywhere, ...platform },
    closing: closing.signal,
    appId: checked.appId,
  };
  const options: ConnectRouterOptions = {
    interceptors: [answers(log), takeAnyInJson, guard(limits)],
    jsonOptions: jsonWithAny,
    readMaxBytes: limits.messageBytes,
    shutdownSignal: closing.signal,
  };
  const register = routes(context);
  startApps(context);
  let closed: Promise<void> | undefined;
  const endStreams = () => closing.abort(unavailable("the server is closing", { retryAfterMs: 500 }));
  const close = () => {
    endStreams();
    closed ??= engine.close();
    return closed;
  };
  return {
    routes: register,
    options,
    config: checked,
    engine,
    fetch: fetchHandler(register, options),
    transport: () => createRouterTransport(register, { router: options }),
    endStreams,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A server of its own in this process, and the way to call it: for tests, demos, a browser tab or the edge. */
export function inProcess(options?: ServerOptions): Transport & AsyncDisposable & { close(): Promise<void> } {
  const { transport, close } = createServer(options);
  return { ...transport(), close, [Symbol.asyncDispose]: close };
}

/** Where nothing is known of the runtime but that it has fetch. */
const anywhere: Platform = {
  dial(baseUrl, protocol) {
    if (protocol === "connect") return createConnectTransport({ baseUrl, useBinaryFormat: true });
    if (protocol === "grpc-web") return createGrpcWebTransport({ baseUrl, useBinaryFormat: true });
    throw new TypeError(`Cannot call ${baseUrl} by gRPC: this runtime has fetch only, which cannot speak it`);
  },
  async fetch(url, init) {
    if (init.method !== "TRACE") return fetch(url, init);
    throw new ConnectError("this runtime's fetch cannot send TRACE", Code.Unimplemented);
  },
  env: {},
  readFile: async (path) => {
    throw new TypeError(`Cannot read "${path}": this runtime has no files`);
  },
};

function fetchHandler(
  register: (router: ConnectRouter) => void,
  options: ConnectRouterOptions,
): (request: Request) => Promise<Response> {
  const router = createConnectRouter({ ...options, grpc: false });
  register(router);
  const handlers = new Map(
    router.handlers.map((handler) => [handler.requestPath, createFetchHandler(handler)] as const),
  );
  return async (request) => {
    if (request.method === "OPTIONS") return preflight(request);
    const { pathname } = new URL(request.url);
    if (pathname === "/healthz") return Response.json({ status: "ok" });
    const handler = handlers.get(pathname);
    if (!handler) return new Response("not found", { status: 404 });
    return allowOrigin(request, await handler(request));
  };
}
