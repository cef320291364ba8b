/** `fairlead/server`: the reference server, for any runtime. */

export { VERSION } from "./answers.js";
export type { Kind } from "./components.js";
export type { Config, ConfigInput } from "./config.js";
export type { Log, Platform } from "./context.js";
export type {
  BlobInfo,
  BlobStore,
  Change,
  Commit,
  Delivery,
  Engine,
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
export { createServer, inProcess, type Server, type ServerOptions } from "./server.js";
