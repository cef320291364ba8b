/**
 * `fairlead/server`: the reference server, for any runtime.
 *
 * @module
 */

export type { Usage } from "../internal/usage.js";
export type { OpenSocket, Socket, SocketEvents } from "../tunnel/socket.js";
export { overWebSocket } from "../tunnel/web-socket.js";
export type { Connection } from "./admission.js";
export { VERSION } from "./answers.js";
export type { Kind } from "./components.js";
export { type Config, type ConfigInput, parseConfig } from "./config.js";
export { ConfigError, type ConfigProblem } from "./config-problems.js";
export { checkReferences, type MissingReferences } from "./config-references.js";
export { configJsonSchema } from "./config-schema.js";
export type { Log, Platform } from "./context.js";
export type {
  BlobInfo,
  BlobStore,
  Change,
  Commit,
  Delivery,
  Engine,
  EngineClock,
  Entry,
  KeyStore,
  LogRecord,
  LogStore,
  Retention,
  TopicStore,
  Write,
} from "./engine.js";
export { EngineFault } from "./engine.js";
export { type MemoryEngineOptions, memoryEngine } from "./engines/memory.js";
export type { MetricsPage } from "./metrics.js";
export type { Readiness } from "./readiness.js";
export { createServer, inProcess, type Server, type ServerOptions } from "./server.js";
export type { TunnelOrigin, Tunnels } from "./tunnel.js";
