/// <reference lib="esnext.disposable" preserve="true" />
import {
  type ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  createRouterTransport,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { asyncDispose } from "../lib/dispose.js";
import { createAccess } from "./access/gate.js";
import type { AdmitCall } from "./calls/admit-call.js";
import { boundedLog } from "./calls/bounded-log.js";
import { callLog } from "./calls/log.js";
import { createMetrics, type Metrics, type MetricsPage, metricsPage } from "./calls/metrics.js";
import { createPipeline } from "./calls/pipeline.js";
import type { Routes } from "./calls/wrap-handlers.js";
import { Components } from "./config/components.js";
import { type Config, type ConfigInput, parseConfig } from "./config/config.js";
import { type Logger, type Platform, type ServiceContext, silent } from "./context.js";
import type { Engine } from "./engine.js";
import { memoryEngine } from "./engines/memory.js";
import { fetchPlatform } from "./fetch-platform.js";
import { createCors } from "./http/cors.js";
import { fetchHandler } from "./http/fetch.js";
import { hostCheck } from "./http/host-check.js";
import { type ServerPages, serverPages } from "./http/pages.js";
import { type Readiness, readiness } from "./http/readiness.js";
import { createRoutes } from "./routes.js";
import { startApps } from "./services/pubsub/apps.js";
import { createShutdown, type Shutdown } from "./shutdown.js";
import { createTunnels, type Tunnels } from "./tunnel/accept.js";
import { AppRegistry } from "./tunnel/app-registry.js";

/** The parts of a server. */
export interface ServerOptions {
  /**
   * The engine that keeps the data. It is closed with the server. Default: a memory engine with the configured bounds.
   */
  engine?: Engine;
  /**
   * The engine by which several servers elect the primaries of maps: `maps[…].election.engine` names it. All servers of
   * a group share it, and each has an `engine` of its own. It is closed with the server. Default: none.
   */
  electionEngine?: Engine;
  /**
   * The components and limits. Default: a `default` store of each kind, the greeting `helloworld`, an `echo` binding.
   */
  config?: ConfigInput;
  /** Access to the runtime that the server runs in. Default: fetch, no environment variables, no files. */
  platform?: Partial<Platform>;
  /**
   * Where the server logs what it does, and every call: successful ones at level `debug`. A pino logger fits as it is.
   * Values, secrets and tokens are never logged. Default: no log.
   */
  log?: Logger;
  /**
   * Interceptors of every accepted call, the outermost first, as otelServer() of `fairlead/otel`. They see requests as
   * they came, and answers as they are sent. Default: none.
   */
  interceptors?: readonly Interceptor[];
  /**
   * Interceptors of every call that the server itself makes, to apps and to the backups of maps, as otelClient() of
   * `fairlead/otel`: each delivery of an event then has a span in the trace of its publish. Default: none.
   */
  clientInterceptors?: readonly Interceptor[];
}

/** The services without the steps that `routes` has around every handler, and these steps as a function. */
interface Dispatch {
  readonly routes: (router: ConnectRouter) => void;
  /** Admits a call before its body is read, or throws the error to respond with. */
  readonly admit: AdmitCall;
  /** The error of a message of so many bytes, if it is too large. */
  checkMessage(bytes: number): ConnectError | undefined;
}

/** All services of the API, for any transport. */
export interface Server extends AsyncDisposable {
  /** Registers the services with a Connect router, behind the access rules. Every Connect adapter takes it. */
  readonly routes: (router: ConnectRouter) => void;
  /** The options that a router for `routes` needs: validation, error mapping and limits. */
  readonly options: ConnectRouterOptions;
  /**
   * The services for an entry point that dispatches calls itself, as listen() does with unary calls over HTTP.
   *
   * @hidden
   */
  readonly dispatch: Dispatch;
  /** The configuration with its defaults, as it was at the start. */
  readonly config: Config;
  /** The engine that keeps the data. */
  readonly engine: Engine;
  /** Where the server logs what it does. */
  readonly log: Logger;
  /**
   * Answers one HTTP request, in any runtime with fetch's types: Connect and gRPC-Web calls, CORS, `/healthz`,
   * `/readyz` and `/metrics`.
   */
  fetch(request: Request): Promise<Response>;
  /**
   * A transport that calls this server in its own process, without a socket. The access rules apply to its calls only
   * with `trusted: false`. Default: true.
   */
  transport(options?: { trusted?: boolean }): Transport;
  /** Accepts the sockets of tunnels, from HTTP servers that have WebSockets. */
  readonly tunnels: Tunnels;
  /**
   * Whether load balancers may send calls now, as `/readyz` tells: not while it drains or closes, or its engine is
   * unavailable.
   */
  readiness(): Promise<Readiness>;
  /**
   * The answer of `/metrics` to a request with this `authorization` header: calls, durations, open streams and memory
   * in Prometheus' text format. If `access` requires tokens, any known token will do.
   */
  metrics(authorization: string | null): Promise<MetricsPage>;
  /**
   * Reports that the server is not ready (`/readyz`, Health) and still accepts calls, so that load balancers send
   * theirs elsewhere before it closes.
   */
  drain(): void;
  /**
   * Ends the streams that have no end of their own (subscriptions, watches, gossip) with `unavailable`. Other calls go
   * on. It is the first step of a close that waits for them, after drain().
   */
  endStreams(): void;
  /** Ends all calls, then closes the engine. Idempotent. */
  close(): Promise<void>;
}

/**
 * Creates a server. It needs nothing of Node: listen() of `fairlead/server/node` opens a port for it, and `fetch`
 * serves it everywhere else.
 *
 * @throws ConfigError if the configuration is wrong.
 *
 * @example
 * ```ts
 * import { createServer } from "fairlead/server";
 *
 * const server = createServer({ config: { state: { carts: {} }, limits: { valueBytes: 1_000_000 } } });
 * const response = await server.fetch(new Request("http://localhost/readyz"));
 * console.log(await response.text()); // {"status":"ready"}
 * await server.close();
 * ```
 */
export function createServer({
  engine: givenEngine,
  electionEngine,
  config: input,
  platform,
  log: target = silent,
  interceptors = [],
  clientInterceptors = [],
}: ServerOptions = {}): Server {
  const log = boundedLog(target);
  const config = parseConfig(input, {
    engines: [givenEngine?.name ?? "memory"],
    electionEngines: electionEngine ? [electionEngine.name] : [],
  });
  const engine = givenEngine ?? memoryEngine({ ...config.engines.memory, log });
  const shutdown = createShutdown();
  const counters = createMetrics();
  const context = createContext(config, {
    engine,
    electionEngine,
    log,
    platform,
    clientInterceptors,
    shutdown,
    metrics: counters,
  });
  const access = createAccess(config.access, { ...context, isApp: (id) => isApp(context, id) });
  const pipeline = createPipeline({
    limits: config.limits,
    access,
    observers: [callLog(log), counters],
    interceptors,
    log,
    shutdownSignal: shutdown.closed,
  });
  const checkReadiness = readiness(engine, shutdown.draining);
  const services = createRoutes(context, checkReadiness, shutdown.draining);
  const routes = pipeline.forClients(services);
  const metrics = async (authorization: string | null) =>
    metricsPage((await access.isKnown(authorization)) ? counters.text(context.platform.memory()) : undefined);
  const pages = serverPages({ readiness: checkReadiness, metrics });
  const { fetch, check } = createFetch(config, { routes, options: pipeline.options, pages });
  const tunnels = createTunnels(context, { routes: services, pipeline, check, clientInterceptors });
  startApps(context);
  const close = createClose(shutdown, tunnels, electionEngine ? [engine, electionEngine] : [engine]);
  return {
    routes,
    options: pipeline.options,
    dispatch: {
      routes: services,
      admit: pipeline.admit,
      checkMessage: pipeline.admission.checkMessage,
    },
    config,
    engine,
    log,
    fetch,
    transport: ({ trusted = true } = {}) =>
      createRouterTransport(trusted ? pipeline.forThisProcess(services) : routes, {
        router: pipeline.options,
      }),
    tunnels,
    readiness: checkReadiness,
    metrics,
    drain: shutdown.drain,
    endStreams: shutdown.endStreams,
    close,
    [asyncDispose]: close,
  };
}

/** Closes a server, once. */
function createClose(shutdown: Shutdown, tunnels: Tunnels, engines: readonly Engine[]): () => Promise<void> {
  let closed: Promise<void> | undefined;
  return () => {
    shutdown.endCalls();
    tunnels.close();
    closed ??= closeEngines(shutdown, engines);
    return closed;
  };
}

async function closeEngines(shutdown: Shutdown, engines: readonly Engine[]): Promise<void> {
  await shutdown.runTasks();
  await Promise.all(engines.map((engine) => engine.close()));
}

interface FetchOptions {
  routes: Routes;
  options: ConnectRouterOptions;
  pages: ServerPages;
}

/** The handler of HTTP requests, and the check of their hosts and origins, which holds for tunnels as well. */
function createFetch({ cors: corsSettings, hosts }: Config, { routes, options, pages }: FetchOptions) {
  const cors = createCors(corsSettings);
  // The address that the handler is reached at is not known here: whoever serves it on loopback configures the hosts.
  const check = hostCheck({ hosts, cors, onLoopback: false });
  return { fetch: fetchHandler(routes, options, { check, cors, pages }), check };
}

/** A server in this process with a transport to it: for tests, demos, a browser tab or the edge. */
export interface InProcessServer extends Transport, AsyncDisposable {
  /** Closes the server. Idempotent. */
  close(): Promise<void>;
}

/**
 * Creates a server in this process, and the transport to call it.
 *
 * @throws ConfigError if the configuration is wrong.
 *
 * @example
 * ```ts
 * import { createClient } from "fairlead";
 * import { inProcess } from "fairlead/server";
 *
 * const fl = createClient(inProcess());
 * console.log(await fl.hello().say("Ada")); // Hello, Ada
 * await fl.close();
 * ```
 */
export function inProcess(options?: ServerOptions): InProcessServer {
  const { transport, close } = createServer(options);
  return { ...transport(), close, [asyncDispose]: close };
}

interface ContextOptions {
  engine: Engine;
  electionEngine: Engine | undefined;
  log: Logger;
  platform: Partial<Platform> | undefined;
  clientInterceptors: readonly Interceptor[];
  shutdown: Shutdown;
  metrics: Metrics;
}

function createContext(
  config: Config,
  { engine, electionEngine, log, platform, clientInterceptors, shutdown, metrics }: ContextOptions,
): ServiceContext {
  const { limits, gossip, appId } = config;
  const { draining, closing, beforeClose } = shutdown;
  const { dial, ...rest } = { ...fetchPlatform, ...platform };
  return {
    engine,
    ...(electionEngine && { electionEngine }),
    limits,
    gossip,
    log,
    count: metrics.count,
    components: new Components(config),
    platform: { ...rest, dial: (url, protocol) => dial(url, protocol, clientInterceptors) },
    draining,
    closing,
    beforeClose,
    apps: new AppRegistry({ engine, limits, closing, log }),
    appId,
  };
}

/** Whether apps are called by the id `id`: a configured app or service, or an app that has dialed in. */
async function isApp({ components, apps }: ServiceContext, id: string): Promise<boolean> {
  return (
    components.find("apps", id) !== undefined || components.find("services", id) !== undefined || apps.has(id)
  );
}
