/**
 * `fairlead`: the client, for every runtime.
 *
 * @module
 */
export { type BindingAnswer, type Bindings, createBindings, type InvokeBindingOptions } from "./bindings.js";
export type {
  CallbackOptions,
  EventHandler,
  EventHandlers,
  EventSubscription,
  Verdict,
} from "./callbacks.js";
export {
  type ClientOptions,
  createClient,
  type Fairlead,
  type Pubsubs,
  type RawClients,
  type Services,
} from "./client.js";
export {
  bytes,
  type Codec,
  type Coding,
  json,
  message,
  SchemaError,
  type StandardIssue,
  type StandardResult,
  type StandardSchema,
  text,
  withSchema,
} from "./codec.js";
export {
  type ConfigurationChange,
  type ConfigurationItem,
  type ConfigurationItemInit,
  type ConfigurationOptions,
  type ConfigurationStore,
  createConfiguration,
  type OpenConfiguration,
  type OpenConfigurationOptions,
} from "./configuration.js";
export {
  type ConflictFacts,
  conflictFacts,
  httpStatus,
  isConflict,
  isExhausted,
  isNotFound,
  isUnavailable,
  retryAfterMs,
  type UnreadableFacts,
  unreadableFacts,
} from "./errors.js";
export {
  createFiles,
  type DownloadProgress,
  type FileContent,
  type FileInfo,
  type FileRange,
  type FileStore,
  type GetOptions,
  type ListOptions,
  type OpenedFile,
  type PutOptions,
  type UploadProgress,
} from "./file.js";
export { type GossipChange, type GossipMap, type GossipMapOptions, openGossipMap } from "./gossip-map.js";
export { createHello, type Hello } from "./hello.js";
export type { ConnectionState, Status, StatusChange } from "./internal/connection-status.js";
export type { Fence } from "./internal/fence.js";
export type { Follower } from "./internal/follower.js";
export { type RetryOptions, withRetry } from "./internal/retry.js";
export type { TopicEvent } from "./internal/topic-event.js";
export { createService, type InvokeInit, type InvokeOptions, type Service } from "./invocation.js";
export type { InvocationHandler } from "./invocations.js";
export { type ChangeableKind, createLifecycle, type LifecycleControl } from "./lifecycle.js";
export {
  type AcquireOptions,
  createLock,
  type Held,
  type LockStore,
  type TryAcquireOptions,
} from "./lock.js";
export {
  type Appended,
  createLog,
  type Log,
  type LogEntry,
  type LogReadOptions,
  type OneOrSeveral,
} from "./log.js";
export {
  type ComputeOptions,
  createMap,
  type MapEntry,
  type MapOptions,
  type MapPutOptions,
  type MapRemoveOptions,
  type VersionedMap,
} from "./map.js";
export {
  createPubsub,
  type Message,
  type PublishOptions,
  type Pubsub,
  type SubscribeOptions,
} from "./pubsub.js";
export { createSecrets, type Secret, type SecretStore } from "./secrets.js";
export { createSequencer, type IdsOptions, type NextOptions, type Sequencer } from "./sequencer.js";
export {
  createState,
  type ReadOptions,
  type RemoveOptions,
  type StateEntries,
  type StateEntry,
  type StateStore,
  type StateTransaction,
  type TransactionWriteOptions,
  type UpdateOptions,
  type WriteOptions,
} from "./state.js";
export { type Token, withToken } from "./token.js";
export type { Serving } from "./transport/tunnel.js";
