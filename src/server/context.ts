/// <reference lib="esnext.disposable" preserve="true" />
import type { Interceptor, Transport } from "@connectrpc/connect";
import type { Components } from "./config/components.js";
import type { Config, Limits } from "./config/config.js";
import type { Engine } from "./engine.js";
import type { AppRegistry } from "./tunnel/app-registry.js";

/** What every service is given. */
export interface ServiceContext {
  readonly engine: Engine;
  readonly components: Components;
  readonly limits: Limits;
  /** How gossip maps are kept alike. */
  readonly gossip: Config["gossip"];
  readonly platform: Platform;
  readonly log: Log;
  /** Aborts when the server closes: what runs beside the calls ends with it. */
  readonly closing: AbortSignal;
  /** The apps that have dialled in. */
  readonly apps: AppRegistry;
  /** This runtime's own app id. */
  readonly appId: string;
}

/** What a service needs of the place it runs in, so that the services themselves need nothing. */
export interface Platform {
  /**
   * A transport to an app, for AppCallback, or to another server, for Backup, with these interceptors around its calls;
   * disposed of where it holds a connection.
   */
  dial(
    url: string,
    protocol: "grpc" | "grpc-web" | "connect",
    interceptors?: readonly Interceptor[],
  ): Transport & Partial<AsyncDisposable>;
  /** Sends an HTTP request, for bindings and services. */
  fetch(url: URL, init: RequestInit): Promise<Response>;
  /** The environment variables; empty where there are none. */
  env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file; rejects where there is no file system. */
  readFile(path: string): Promise<string>;
  /** What the process takes in bytes, by the names that Prometheus' own clients give it; empty where it cannot tell. */
  memory(): Readonly<Record<string, number>>;
}

/**
 * Where the server tells of what it does: a pino logger fits as it is, and so does `console`. `fields` never hold a
 * value, a secret or a token of a client; an error is in `err`.
 */
export interface Log {
  /** What only those look at who search for something. */
  debug(fields: object, message: string): void;
  /** What happens in the normal course. */
  info(fields: object, message: string): void;
  /** What went wrong for a client or an app, and was dealt with. */
  warn(fields: object, message: string): void;
  /** What nobody foresaw. */
  error(fields: object, message: string): void;
}

/** A log that keeps nothing. */
export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Whether fetch refuses such a request. */
export const isBeyondFetch = ({ method, body }: RequestInit): boolean =>
  method === "TRACE" || (method === "GET" && body != null);
