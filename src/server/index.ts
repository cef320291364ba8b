/**
 * `fairlead/server`: the reference server, for any runtime.
 *
 * @module
 */

export type { Environment } from "../gossip/environment.js";
export type { OpenSocket, Socket, SocketEvents } from "../tunnel/socket/socket.js";
export { overWebSocket } from "../tunnel/socket/web-socket.js";
export type { Connection } from "./calls/connection.js";
export { VERSION } from "./calls/error-mapping.js";
export type { MetricsPage } from "./calls/metrics.js";
export type { Usage } from "./calls/usage.js";
export { type Config, type ConfigInput, type ParseOptions, parseConfig } from "./config/config.js";
export { configJsonSchema } from "./config/json-schema.js";
export { ConfigError, type ConfigProblem } from "./config/problems.js";
export { checkReferences, type MissingReferences } from "./config/references.js";
export type { Logger, Platform } from "./context.js";
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
  PeerHandler,
  PeerMessaging,
  Retention,
  TopicStore,
  Write,
} from "./engine.js";
export { EngineFault, PeerFault } from "./engine.js";
export { type MemoryEngineOptions, memoryEngine } from "./engines/memory.js";
export type { Readiness } from "./http/readiness.js";
export type { ComponentKind } from "./primitives.js";
export { createServer, type InProcessServer, inProcess, type Server, type ServerOptions } from "./server.js";
export type { TunnelOrigin, Tunnels } from "./tunnel/accept.js";
