/// <reference lib="esnext.disposable" preserve="true" />
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  createRouterTransport,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { asyncDispose } from "../lib/dispose.js";
import { expectManyListeners } from "../lib/max-listeners.js";
import { envelopesFit } from "../rpc/envelopes.js";
import { fetchOrUnavailable } from "../rpc/fetch-unavailable.js";
import { createAccess } from "./access/gate.js";
import { boundedLog } from "./calls/bounded-log.js";
import { callLog } from "./calls/log.js";
import { createMetrics, type MetricsPage, metricsPage } from "./calls/metrics.js";
import { createPipeline } from "./calls/pipeline.js";
import { Components } from "./config/components.js";
import { type Config, type ConfigInput, parseConfig } from "./config/config.js";
import { isBeyondFetch, type Log, type Platform, type ServiceContext, silent } from "./context.js";
import type { Engine } from "./engine.js";
import { memoryEngine } from "./engines/memory.js";
import { unavailable } from "./errors.js";
import { corsFor } from "./http/cors.js";
import { fetchHandler } from "./http/fetch.js";
import { hostCheck } from "./http/host-check.js";
import { serverPages } from "./http/pages.js";
import { type Readiness, readiness } from "./http/readiness.js";
import { routes } from "./routes.js";
import { startApps } from "./services/pubsub/apps.js";
import { createTunnels, type Tunnels } from "./tunnel/accept.js";
import { AppRegistry } from "./tunnel/app-registry.js";

/** What a server is made of. */
export interface ServerOptions {
  /** What keeps the data. Closed with the server. Default: a memory engine with the configured bounds. */
  engine?: Engine;
  /** The components and limits. Default: a `default` store of each kind, the `helloworld` greeting, an `echo` binding. */
  config?: ConfigInput;
  /** What the place it runs in offers. Default: fetch, no environment, no files. */
  platform?: Partial<Platform>;
  /**
   * Where it tells of what it does, and of every call, those that went well at `debug`: a pino logger fits as it is.
   * Never values, secrets or tokens. Default: nowhere.
   */
  log?: Log;
  /**
   * Around every call that was let in, from the outermost on, as otelServer() of `fairlead/otel`: they see requests as
   * they came, and answers as they go. Default: none.
   */
  interceptors?: readonly Interceptor[];
  /**
   * Around every call that the server itself makes, to apps and to the backups of maps, as otelClient() of
   * `fairlead/otel`: each delivery of an event then has a span in the trace of its publish. Default: none.
   */
  clientInterceptors?: readonly Interceptor[];
}

/** Every service of the API, ready to be put behind any door. */
export interface Server extends AsyncDisposable {
  /** Registers the services with a Connect router, as every Connect adapter takes them, each behind the access gate. */
  readonly routes: (router: ConnectRouter) => void;
  /** What the router must be made with: the guard, the error table and the limits. */
  readonly options: ConnectRouterOptions;
  /** The configuration with its defaults, as it was at the start. */
  readonly config: Config;
  /** What keeps the data. */
  readonly engine: Engine;
  /** Where it tells of what it does. */
  readonly log: Log;
  /** Answers one HTTP request: Connect and gRPC-Web calls, CORS, `/healthz`, `/readyz`, `/metrics`. For any runtime with fetch's types. */
  fetch(request: Request): Promise<Response>;
  /**
   * Calls this server from its own process, without a socket. What `access` says is for others, unless the calls are
   * not to be trusted either: `trusted: false`. Default: true.
   */
  transport(options?: { trusted?: boolean }): Transport;
  /** Takes the sockets of tunnels, on doors that have WebSockets. */
  readonly tunnels: Tunnels;
  /** Whether it is to be sent calls now: not once it drains or closes, and not while its engine is away. What `/readyz` says. */
  readiness(): Promise<Readiness>;
  /**
   * What `/metrics` answers a request with this `authorization` header: calls, durations, open streams and memory in
   * Prometheus' text format. Where `access` asks for tokens, any that it knows will do.
   */
  metrics(authorization: string | null): Promise<MetricsPage>;
  /**
   * Says from now on that it is not ready (`/readyz`, Health), and still takes calls: load balancers send theirs
   * elsewhere by the time that it closes.
   */
  drain(): void;
  /**
   * Ends the streams that have no end of their own (subscriptions, watches, gossip) with `unavailable`; every other
   * call goes on. The first step of a close that waits for them, after drain().
   */
  endStreams(): void;
  /** Ends the streams, then closes the engine. Idempotent. */
  close(): Promise<void>;
}

/** Makes a server. It needs nothing of Node: listenNode() puts it on a port, and `fetch` fits everything else. */
export function createServer({
  engine: kept,
  config,
  platform,
  log: given = silent,
  interceptors = [],
  clientInterceptors = [],
}: ServerOptions = {}): Server {
  const log = boundedLog(given);
  const draining = new AbortController();
  const closing = new AbortController();
  const cut = new AbortController();
  expectManyListeners(closing.signal);
  expectManyListeners(cut.signal);
  const checked = parseConfig(config, { engines: [kept?.name ?? "memory"] });
  const { limits } = checked;
  const engine = kept ?? memoryEngine({ ...checked.engines.memory, log });
  const offered: Platform = { ...anywhere, ...platform };
  const context: ServiceContext = {
    engine,
    limits,
    gossip: checked.gossip,
    log,
    components: new Components(checked),
    platform: { ...offered, dial: (url, protocol) => offered.dial(url, protocol, clientInterceptors) },
    closing: closing.signal,
    apps: new AppRegistry(engine, limits, closing.signal),
    appId: checked.appId,
  };
  const access = createAccess(checked.access, { ...context, isApp: (id) => isApp(context, id) });
  const metrics = createMetrics();
  const pipeline = createPipeline({
    limits,
    access,
    observers: [callLog(log), metrics],
    interceptors,
    log,
    shutdownSignal: cut.signal,
  });
  const { options } = pipeline;
  const ready = readiness(engine, draining.signal);
  const register = routes(context, ready, draining.signal);
  const gated = pipeline.forClients(register);
  startApps(context);
  const readMetrics = async (authorization: string | null) =>
    metricsPage((await access.isKnown(authorization)) ? metrics.text(context.platform.memory()) : undefined);
  let closed: Promise<void> | undefined;
  const closingFault = () => unavailable("the server is closing", { retryAfterMs: 500 });
  const cors = corsFor(checked.cors);
  // Where it listens is not known here: who puts `fetch` on loopback names the hosts.
  const check = hostCheck({ hosts: checked.hosts, cors, onLoopback: false });
  const tunnels = createTunnels(context, { routes: register, pipeline, check, clientInterceptors });
  const drain = () => draining.abort();
  const endStreams = () => {
    drain();
    closing.abort(closingFault());
  };
  const close = () => {
    endStreams();
    cut.abort(closingFault());
    tunnels.close();
    closed ??= engine.close();
    return closed;
  };
  return {
    routes: gated,
    options,
    config: checked,
    engine,
    log,
    fetch: fetchHandler(gated, options, {
      check,
      cors,
      pages: serverPages({ readiness: ready, metrics: readMetrics }),
    }),
    transport: ({ trusted = true } = {}) =>
      createRouterTransport(trusted ? pipeline.forThisProcess(register) : gated, { router: options }),
    tunnels,
    readiness: ready,
    metrics: readMetrics,
    drain,
    endStreams,
    close,
    [asyncDispose]: close,
  };
}

/** A server of its own in this process, and the way to call it: for tests, demos, a browser tab or the edge. */
export function inProcess(options?: ServerOptions): Transport & AsyncDisposable & { close(): Promise<void> } {
  const { transport, close } = createServer(options);
  return { ...transport(), close, [asyncDispose]: close };
}

/** Where nothing is known of the runtime but that it has fetch. */
const anywhere: Platform = {
  dial(baseUrl, protocol, interceptors = []) {
    const options = {
      baseUrl,
      useBinaryFormat: true,
      interceptors: [...interceptors],
      fetch: fetchOrUnavailable(async () => ({ envelopesFit })),
    };
    if (protocol === "connect") return createConnectTransport(options);
    if (protocol === "grpc-web") return createGrpcWebTransport(options);
    throw new TypeError(`Cannot call ${baseUrl} by gRPC: this runtime has fetch only, which cannot speak it`);
  },
  async fetch(url, init) {
    if (!isBeyondFetch(init)) return fetch(url, init);
    const what = init.method === "TRACE" ? "TRACE" : `${init.method} with a body`;
    throw new ConnectError(`this runtime's fetch cannot send ${what}`, Code.Unimplemented);
  },
  env: {},
  readFile: async (path) => {
    throw new TypeError(`Cannot read "${path}": this runtime has no files`);
  },
  memory: () => ({}),
};

/** Whether `id` is one that apps are called by: a configured one, or one that has dialled in. */
async function isApp({ components, apps }: ServiceContext, id: string): Promise<boolean> {
  return (
    components.find("apps", id) !== undefined || components.find("services", id) !== undefined || apps.has(id)
  );
}
