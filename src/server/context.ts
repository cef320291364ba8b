/// <reference lib="esnext.disposable" preserve="true" />
import type { Interceptor, Transport } from "@connectrpc/connect";
import type { Environment } from "../gossip/environment.js";
import type { Components } from "./config/components.js";
import type { Config, Limits } from "./config/config.js";
import type { Engine } from "./engine.js";
import type { AppRegistry } from "./tunnel/app-registry.js";

/** The parts of the server that every service may use. */
export interface ServiceContext {
  readonly engine: Engine;
  /** The engine by which several servers elect the primaries of maps; undefined: no configured map needs one. */
  readonly electionEngine?: Engine;
  readonly components: Components;
  readonly limits: Limits;
  /** The settings of gossip maps. */
  readonly gossip: Config["gossip"];
  readonly platform: Platform;
  readonly log: Logger;
  /** Adds to a counter of `/metrics`. */
  count(counter: Counter, by: number): void;
  /** Aborts when the server drains, before it closes: other servers should take over. */
  readonly draining: AbortSignal;
  /** Aborts when the server closes, and ends background work. */
  readonly closing: AbortSignal;
  /** Registers `task`, which runs after `closing` aborts. The engines are closed when it has settled. */
  beforeClose(task: () => Promise<void>): void;
  /** The apps that have dialed in. */
  readonly apps: AppRegistry;
  /** This runtime's own app id. */
  readonly appId: string;
}

/** What services count, by the name of the metric. */
export type Counter =
  | "fairlead_gossip_refused_entries_total"
  | "fairlead_gossip_peer_failures_total"
  | "fairlead_map_terms_total"
  | "fairlead_map_backups_lost_total";

/** Access to the runtime that the server runs in, so that services need none of its APIs. */
export interface Platform {
  /**
   * A transport to an app (AppCallback) or to another server (Backup), with these interceptors around its calls. It is
   * disposed of if it holds a connection.
   */
  dial(
    url: string,
    protocol: "grpc" | "grpc-web" | "connect",
    interceptors?: readonly Interceptor[],
  ): Transport & Partial<AsyncDisposable>;
  /** Sends an HTTP request, for bindings and services. */
  fetch(url: URL, init: RequestInit): Promise<Response>;
  /** The environment variables; empty if there are none. */
  env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file. Rejects if there is no file system. */
  readFile(path: string): Promise<string>;
  /** The time and randomness of elections and of the replication of maps. */
  environment: Environment;
  /** The memory of the process in bytes, by the metric names of Prometheus' own clients; empty if it is not known. */
  memory(): Readonly<Record<string, number>>;
}

/**
 * The log of a server: a pino logger fits as it is, and so does `console`. `fields` never hold values, secrets or
 * tokens of clients. An error is in `err`.
 */
export interface Logger {
  /** Details for those who search for a fault. */
  debug(fields: object, message: string): void;
  /** Normal operation. */
  info(fields: object, message: string): void;
  /** A failure of a client or an app that the server has handled. */
  warn(fields: object, message: string): void;
  /** A failure of the server itself. */
  error(fields: object, message: string): void;
}

/** A log that keeps nothing. */
export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Whether fetch refuses such a request. */
export const isBeyondFetch = ({ method, body }: RequestInit): boolean =>
  method === "TRACE" || (method === "GET" && body != null);
