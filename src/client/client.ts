/// <reference lib="esnext.disposable" preserve="true" />
import {
  type Client,
  type ConnectRouter,
  createClient as createRawClient,
  type Transport,
} from "@connectrpc/connect";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../../gen/atomix/map/map_pb.js";
import { MapService } from "../../gen/atomix/pb/map/map_pb.js";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import type { Runtime } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { asyncDispose } from "../lib/dispose.js";
import { withErrorMapping } from "../rpc/with-error-mapping.js";
import type { Serving } from "../transport/tunnel.js";
import { createWebTransport } from "../transport/web.js";
import { type Bindings, createBindings } from "./bindings.js";
import { createClientLifetime } from "./client-lifetime.js";
import type { Coding } from "./codec.js";
import { type ConfigurationOptions, type ConfigurationStore, createConfiguration } from "./configuration.js";
import { createFiles, type FileStore } from "./files.js";
import { type GossipMap, type GossipMapOptions, openGossipMap } from "./gossip-map.js";
import { createHello, type Hello } from "./hello.js";
import { type LazyChunk, lazyChunk } from "./lazy.js";
import { createLifecycle, type LifecycleControl } from "./lifecycle.js";
import { createLock, type LockStore } from "./lock.js";
import { createLog, type Log } from "./log.js";
import { createMap, type MapOptions, type VersionedMap } from "./map.js";
import { lostConnectionOnly } from "./normalize-error.js";
import { type CallbackOptions, createPubsub, type EventHandlers, type Pubsub } from "./pubsub.js";
import { rawRuntime } from "./raw-runtime.js";
import { type RetryOptions, withRetry } from "./retry.js";
import { createSecrets, type SecretStore } from "./secrets.js";
import { createSequencer, type Sequencer } from "./sequencer.js";
import { createService, type InvocationHandler, type Service } from "./service.js";
import { createState, type StateStore } from "./state.js";
import { type Token, withToken } from "./token.js";

/** What holds for all calls of a client. */
export interface ClientOptions {
  /** How unary calls are tried again while the server is unavailable; false: never. Default: what is safe, 4 tries. */
  retry?: RetryOptions | false;
  /** The bearer token that every call carries, or what gives one, asked for each call. Default: none. */
  token?: Token;
  /**
   * Whether close() closes the transport too. False where several clients share one: each then ends no more than what
   * was opened and called through it. Default: true.
   */
  closeTransport?: boolean;
}

/** A transport, with what some of them have besides. */
type Dialed = Transport & {
  close?: () => Promise<void>;
  serve?: (routes: Routes) => Serving | Promise<Serving>;
};

type Routes = (router: ConnectRouter) => void;

const isTransport = (to: Transport | string): to is Transport =>
  typeof (to as Partial<Transport>)?.unary === "function";

/** Serves what comes of the code that is loaded for it. */
type Serve = (routesOf: (code: LazyChunk) => Routes) => Promise<Serving>;

/** Every primitive of one server. Stores are called `default` where no name is given. */
export interface Fairlead extends AsyncDisposable {
  /** Keys and values with etags, in the store `name`. */
  state<V = unknown>(name?: string, coding?: Coding<V>): StateStore<V>;
  /** Leases with fences, in the store `name`. */
  lock(name?: string): LockStore;
  /** Unique ids, from the store `name`. */
  sequencer(name?: string): Sequencer;
  /** Topics of the component `name`. */
  readonly pubsub: Pubsubs;
  /** Streams of bytes by name, in the store `name`. */
  files(name?: string): FileStore;
  /** The versioned map `name`. */
  map<V = unknown>(name: string, options?: MapOptions & Coding<V>): VersionedMap<V>;
  /** Opens a copy of the gossip map `name`, which works offline and converges; it has to be closed. */
  openGossipMap<V = unknown>(name: string, options?: GossipMapOptions & Coding<V>): Promise<GossipMap<V>>;
  /** The append-only log `name`. */
  log<T = unknown>(name?: string, coding?: Coding<T>): Log<T>;
  /** Settings that tell of their changes, in the store `name`. */
  configuration(name?: string, options?: ConfigurationOptions): ConfigurationStore;
  /** Values that are never printed, in the store `name`. */
  secrets(name?: string): SecretStore;
  /** Calls to systems outside, by the bindings that the server has. */
  readonly bindings: Bindings;
  /** The other app that the server knows as `id`. */
  readonly service: Services;
  /** The greeting `name`: is anyone there? */
  hello(name?: string): Hello;
  /** Changes components of the server at run time. */
  readonly lifecycle: LifecycleControl;
  /**
   * The generated clients, for what a facade does not offer. Nothing is retried there, and errors are those of the server; a
   * lost connection is `unavailable`, as everywhere.
   */
  readonly raw: RawClients;
  /**
   * Ends all that was opened from this client: releases locks, sends what gossip maps have not sent yet, closes
   * configurations, stops serving, and ends the loops over logs and subscriptions. Then calls under way fail, as every
   * further one, with `Code.Canceled`, and the transport is closed: see `closeTransport`. Idempotent.
   */
  close(): Promise<void>;
}

/** What makes `fl.pubsub()`, and how the server calls this app. */
export interface Pubsubs {
  (name?: string): Pubsub;
  /**
   * Handles the events of topics as the server calls for it, in a tab too: `AppCallback` through the tunnel. The
   * transport must have an `appId`; apps of the same id share their events, which wait while none of them is there.
   */
  serve<T extends Record<string, unknown>>(
    handlers: EventHandlers<T>,
    options?: CallbackOptions,
  ): Promise<Serving>;
}

/** What makes `fl.service()`, and how other apps call this one. */
export interface Services {
  (id: string): Service;
  /**
   * Answers what others send to `service(appId)`, in a tab too: `InvokeService` through the tunnel. The transport must
   * have an `appId`; apps of the same id take turns.
   */
  serve(handler: InvocationHandler): Promise<Serving>;
}

/** A generated client for each service, with every RPC of the contract. */
export interface RawClients {
  /** The Layotto runtime API. */
  readonly runtime: Client<typeof Runtime>;
  /** Component settings at run time. */
  readonly lifecycle: Client<typeof Lifecycle>;
  /** Atomix' versioned map. */
  readonly map: Client<typeof MapService>;
  /** Atomix' gossip map. */
  readonly gossipMap: Client<typeof GossipMapService>;
  /** Atomix' log. */
  readonly log: Client<typeof LogService>;
}

/**
 * All facades over one transport, or over fetch to the server at a URL. Costs nothing until the first call. Where the
 * size of a bundle counts, the `createX` functions give single facades: `createState(transport, "carts")`.
 */
export function createClient(
  to: Transport | string,
  { retry = {}, token, closeTransport = true }: ClientOptions = {},
): Fairlead {
  const dialed: Dialed = isTransport(to) ? to : createWebTransport(to);
  const signed = token === undefined ? dialed : withToken(dialed, token);
  const { scoped, open, close } = createClientLifetime(async () => closeTransport && dialed.close?.());
  const given = scoped(signed);
  const transport = retry === false ? given : scoped(withRetry(signed, retry));
  const serve: Serve = async (routesOf) => {
    const code = await lazyChunk();
    const routes = routesOf(code);
    if (dialed.serve) return code.closeWithClient(dialed.serve(routes), open);
    throw new TypeError(
      "Cannot serve: the server cannot call this transport; createWebTransport() and createTunnelTransport() make one that it can",
    );
  };
  const raw = withErrorMapping(given, lostConnectionOnly);
  return {
    state: (name = "default", coding) => createState(transport, name, coding),
    lock: (name = "default") => createLock(transport, name),
    sequencer: (name = "default") => createSequencer(transport, name),
    pubsub: Object.assign((name = "default") => createPubsub(transport, name), {
      serve: <T extends Record<string, unknown>>(handlers: EventHandlers<T>, options?: CallbackOptions) =>
        serve(({ createCallbacks }) => createCallbacks(handlers, options)),
    }),
    files: (name = "default") => createFiles(transport, name),
    map: (name, options) => createMap(transport, name, options),
    openGossipMap: (name, options) => openGossipMap(transport, name, options),
    log: (name, coding) => createLog(transport, name, coding),
    configuration: (name = "default", options) => createConfiguration(transport, name, options),
    secrets: (name = "default") => createSecrets(transport, name),
    bindings: createBindings(transport),
    service: Object.assign((id: string) => createService(transport, id), {
      serve: (handler: InvocationHandler) => serve(({ createInvocations }) => createInvocations(handler)),
    }),
    hello: (name) => createHello(transport, name),
    lifecycle: createLifecycle(transport),
    raw: {
      runtime: rawRuntime(raw),
      lifecycle: createRawClient(Lifecycle, raw),
      map: createRawClient(MapService, raw),
      gossipMap: createRawClient(GossipMapService, raw),
      log: createRawClient(LogService, raw),
    },
    close,
    [asyncDispose]: close,
  };
}
