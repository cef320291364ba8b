import { type Client, createClient as createRawClient, type Transport } from "@connectrpc/connect";
import { LogService } from "../gen/atomix/log/log_pb.js";
import { GossipMapService } from "../gen/atomix/map/map_pb.js";
import { MapService } from "../gen/atomix/pb/map/map_pb.js";
import { Lifecycle } from "../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import type { Runtime } from "../gen/spec/proto/runtime/v1/runtime_pb.js";
import { type Bindings, createBindings } from "./bindings.js";
import type { Coding } from "./codec.js";
import { type ConfigurationOptions, type ConfigurationStore, createConfiguration } from "./configuration.js";
import { createFiles, type FileStore } from "./file.js";
import { type GossipMap, type GossipMapOptions, openGossipMap } from "./gossip-map.js";
import { createHello, type Hello } from "./hello.js";
import { asyncDispose } from "./internal/dispose.js";
import { rawRuntime } from "./internal/raw-runtime.js";
import { type RetryOptions, withRetry } from "./internal/retry.js";
import { createService, type Service } from "./invocation.js";
import { createLifecycle, type LifecycleControl } from "./lifecycle.js";
import { createLock, type LockStore } from "./lock.js";
import { createLog, type Log } from "./log.js";
import { createMap, type MapOptions, type VersionedMap } from "./map.js";
import { createPubsub, type Pubsub } from "./pubsub.js";
import { createSecrets, type SecretStore } from "./secrets.js";
import { createSequencer, type Sequencer } from "./sequencer.js";
import { createState, type StateStore } from "./state.js";
import { type Token, withToken } from "./token.js";
import { createWebTransport } from "./transport/web.js";

/** What holds for all calls of a client. */
export interface ClientOptions {
  /** How unary calls are tried again while the server is unavailable; false: never. Default: what is safe, 4 tries. */
  retry?: RetryOptions | false;
  /** The bearer token that every call carries, or what gives one, asked for each call. Default: none. */
  token?: Token;
}

/** Every primitive of one server. Stores are called `default` where no name is given. */
export interface Fairlead extends AsyncDisposable {
  /** Keys and values with etags, in the store `name`. */
  state<V = unknown>(name?: string, coding?: Coding<V>): StateStore<V>;
  /** Leases with fences, in the store `name`. */
  lock(name?: string): LockStore;
  /** Unique ids, from the store `name`. */
  sequencer(name?: string): Sequencer;
  /** Topics of the component `name`. */
  pubsub(name?: string): Pubsub;
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
  service(id: string): Service;
  /** The greeting `name`: is anyone there? */
  hello(name?: string): Hello;
  /** Changes components of the server at run time. */
  readonly lifecycle: LifecycleControl;
  /** The generated clients, for what a facade does not offer: nothing is retried or read differently there. */
  readonly raw: RawClients;
  /** Closes the transport where it can be closed. Idempotent. */
  close(): Promise<void>;
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
export function createClient(to: Transport | string, { retry = {}, token }: ClientOptions = {}): Fairlead {
  const dialed: Transport & { close?: () => Promise<void> } =
    typeof to === "string" ? createWebTransport(to) : to;
  const given = token === undefined ? dialed : withToken(dialed, token);
  const transport = retry === false ? given : withRetry(given, retry);
  const close = async () => dialed.close?.();
  return {
    state: (name = "default", coding) => createState(transport, name, coding),
    lock: (name = "default") => createLock(transport, name),
    sequencer: (name = "default") => createSequencer(transport, name),
    pubsub: (name = "default") => createPubsub(transport, name),
    files: (name = "default") => createFiles(transport, name),
    map: (name, options) => createMap(transport, name, options),
    openGossipMap: (name, options) => openGossipMap(transport, name, options),
    log: (name, coding) => createLog(transport, name, coding),
    configuration: (name = "default", options) => createConfiguration(transport, name, options),
    secrets: (name = "default") => createSecrets(transport, name),
    bindings: createBindings(transport),
    service: (id) => createService(transport, id),
    hello: (name) => createHello(transport, name),
    lifecycle: createLifecycle(transport),
    raw: {
      runtime: rawRuntime(given),
      lifecycle: createRawClient(Lifecycle, given),
      map: createRawClient(MapService, given),
      gossipMap: createRawClient(GossipMapService, given),
      log: createRawClient(LogService, given),
    },
    close,
    [asyncDispose]: close,
  };
}
