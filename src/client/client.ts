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
import { openPresence, type Presence, type PresenceOptions } from "./presence.js";
import { type CallbackOptions, createPubsub, type EventHandlers, type Pubsub } from "./pubsub.js";
import { rawRuntime } from "./raw-runtime.js";
import { type RetryOptions, withRetry } from "./retry.js";
import { createSecrets, type SecretStore } from "./secrets.js";
import { createSequencer, type Sequencer } from "./sequencer.js";
import { createService, type InvocationHandler, type Service } from "./service.js";
import { createState, type StateStore } from "./state.js";
import { type Token, withToken } from "./token.js";

/** How a client makes its calls. */
export interface ClientOptions {
  /** How unary calls are retried while the server is unavailable; false: never. Default: safe calls, 4 attempts. */
  retry?: RetryOptions | false;
  /** The bearer token that every call carries, or a function that returns it for each call. Default: none. */
  token?: Token;
  /**
   * Whether close() also closes the transport. Set it to false if several clients share the transport: each then ends
   * only its own calls and objects. Default: true.
   */
  closeTransport?: boolean;
}

/** All primitives of one server. The default store is called `default`. */
export interface Fairlead extends AsyncDisposable {
  /** Keys and values with etags, in the store `name`. */
  state<V = unknown>(name?: string, coding?: Coding<V>): StateStore<V>;
  /** Locks with leases and fences, in the store `name`. */
  lock(name?: string): LockStore;
  /** Unique ids, from the store `name`. */
  sequencer(name?: string): Sequencer;
  /** Topics of the pubsub `name`. */
  readonly pubsub: Pubsubs;
  /** Files, in the store `name`. */
  files(name?: string): FileStore;
  /** The versioned map `name`. */
  map<V = unknown>(name: string, options?: MapOptions & Coding<V>): VersionedMap<V>;
  /** Opens a copy of the gossip map `name`, which works offline and converges. It must be closed. */
  openGossipMap<V = unknown>(name: string, options?: GossipMapOptions & Coding<V>): Promise<GossipMap<V>>;
  /** Opens the presence `name`: who is here, with a state for each. It must be closed. */
  presence<S extends object = Record<string, unknown>>(
    name: string,
    options?: PresenceOptions<S> & Coding<S>,
  ): Promise<Presence<S>>;
  /** The append-only log `name`. */
  log<T = unknown>(name?: string, coding?: Coding<T>): Log<T>;
  /** Settings and their changes, in the store `name`. */
  configuration(name?: string, options?: ConfigurationOptions): ConfigurationStore;
  /** Values that are never printed, in the store `name`. */
  secrets(name?: string): SecretStore;
  /** Calls to external systems, by the bindings of the server. */
  readonly bindings: Bindings;
  /** The app that the server calls `id`. */
  readonly service: Services;
  /** The greeting `name`, to check that the server answers. */
  hello(name?: string): Hello;
  /** Changes components of the server at run time. */
  readonly lifecycle: LifecycleControl;
  /**
   * The generated clients, for RPCs that no facade offers. Calls are not retried, and errors are those of the server,
   * except that a lost connection is always `unavailable`.
   */
  readonly raw: RawClients;
  /**
   * Closes everything that this client opened: releases locks, sends pending writes of gossip maps, closes
   * configurations, stops serving, and ends the loops over logs and subscriptions. Then pending and later calls fail
   * with `Code.Canceled`, and the transport is closed: see `closeTransport`. Idempotent.
   */
  close(): Promise<void>;
}

/** Opens pubsubs, and serves events to this app. */
export interface Pubsubs {
  (name?: string): Pubsub;
  /**
   * Handles events that the server sends to this app, also in a browser tab: `AppCallback` through the tunnel. The
   * transport must have an `appId`. Apps with the same id share their events, which wait while none of them is
   * connected.
   */
  serve<T extends Record<string, unknown>>(
    handlers: EventHandlers<T>,
    options?: CallbackOptions,
  ): Promise<Serving>;
}

/** Opens the services of other apps, and serves this app to them. */
export interface Services {
  (id: string): Service;
  /**
   * Handles calls of other apps to `service(appId)`, also in a browser tab: `InvokeService` through the tunnel. The
   * transport must have an `appId`. Apps with the same id take turns.
   */
  serve(handler: InvocationHandler): Promise<Serving>;
}

/** The generated client of each service, with every RPC of the API. */
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

/** A transport that may be closed, and that the server may be able to call. */
type ClientTransport = Transport & {
  close?: () => Promise<void>;
  serve?: (routes: Routes) => Serving | Promise<Serving>;
};

type Routes = (router: ConnectRouter) => void;

const isTransport = (target: Transport | string | readonly string[]): target is Transport =>
  typeof (target as Partial<Transport>)?.unary === "function";

/**
 * All facades over one transport, or over fetch to the server at a URL or to one of several, see createWebTransport().
 * Makes no call by itself. For a small bundle,
 * use the functions for single facades instead: `createState(transport, "carts")`.
 *
 * @example
 * ```ts
 * import { createClient } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const fl = createClient(createNodeTransport("http://localhost:34904"));
 * console.log(await fl.hello().say("Ada")); // Hello, Ada
 * await fl.close();
 * ```
 */
export function createClient(
  target: Transport | string | readonly string[],
  { retry = {}, token, closeTransport = true }: ClientOptions = {},
): Fairlead {
  const base: ClientTransport = isTransport(target) ? target : createWebTransport(target);
  const { scoped, open, close } = createClientLifetime(async () => closeTransport && base.close?.());
  const wrap = (other: Transport, options = retry) => {
    const authorized = token === undefined ? other : withToken(other, token);
    return scoped(options === false ? authorized : withRetry(authorized, options));
  };
  const withoutRetry = wrap(base, false);
  // The same one, so that what it has learned of the server is known to both.
  const transport = retry === false ? withoutRetry : wrap(base);
  const serve = async (createRoutes: (code: LazyChunk) => Routes) => {
    const code = await lazyChunk();
    return code.closeWithClient(code.serveRoutes(base, createRoutes(code)), open);
  };
  return {
    state: (name = "default", coding) => createState(transport, name, coding),
    lock: (name = "default") => createLock(transport, name),
    sequencer: (name = "default") => createSequencer(transport, name),
    pubsub: Object.assign((name = "default") => createPubsub(transport, name), {
      serve: <T extends Record<string, unknown>>(handlers: EventHandlers<T>, options?: CallbackOptions) =>
        serve(({ createCallbacks }) => createCallbacks(handlers, options)),
    }),
    files: (name = "default") => createFiles(transport, name),
    map: (name, options) => createMap(transport, name, options, base, wrap),
    openGossipMap: (name, options) => openGossipMap(transport, name, options),
    presence: (name, options) => openPresence(transport, name, options),
    log: (name, coding) => createLog(transport, name, coding),
    configuration: (name = "default", options) => createConfiguration(transport, name, options),
    secrets: (name = "default") => createSecrets(transport, name),
    bindings: createBindings(transport),
    service: Object.assign((id: string) => createService(transport, id), {
      serve: (handler: InvocationHandler) => serve(({ createInvocations }) => createInvocations(handler)),
    }),
    hello: (name) => createHello(transport, name),
    lifecycle: createLifecycle(transport),
    raw: rawClients(withErrorMapping(withoutRetry, lostConnectionOnly)),
    close,
    [asyncDispose]: close,
  };
}

const rawClients = (transport: Transport): RawClients => ({
  runtime: rawRuntime(transport),
  lifecycle: createRawClient(Lifecycle, transport),
  map: createRawClient(MapService, transport),
  gossipMap: createRawClient(GossipMapService, transport),
  log: createRawClient(LogService, transport),
});
