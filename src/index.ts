/**
 * `fairlead`: the client, for every runtime.
 *
 * @module
 */
export {
  type BindingAnswer,
  type Bindings,
  createBindings,
  type InvokeBindingOptions,
} from "./client/bindings.js";
export {
  type ClientOptions,
  createClient,
  type Fairlead,
  type Pubsubs,
  type RawClients,
  type Services,
} from "./client/client.js";
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
} from "./client/codec.js";
export {
  type ConfigurationChange,
  type ConfigurationItem,
  type ConfigurationItemInit,
  type ConfigurationOptions,
  type ConfigurationStore,
  createConfiguration,
  type OpenConfiguration,
  type OpenConfigurationOptions,
} from "./client/configuration.js";
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
} from "./client/errors.js";
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
} from "./client/files.js";
export type { Follower } from "./client/follower.js";
export {
  type GossipChange,
  type GossipMap,
  type GossipMapOptions,
  type GossipMapState,
  type GossipMapStatus,
  type GossipMapStatusChange,
  type GossipSetOptions,
  openGossipMap,
} from "./client/gossip-map.js";
export type { GossipPersistence, GossipStore, LoadedRecords } from "./client/gossip-persistence.js";
export { createHello, type Hello } from "./client/hello.js";
export { type ChangeableKind, createLifecycle, type LifecycleControl } from "./client/lifecycle.js";
export {
  type AcquireOptions,
  createLock,
  type Fence,
  type HeldLock,
  type LockStore,
  type TryAcquireOptions,
} from "./client/lock.js";
export {
  type Appended,
  createLog,
  type Log,
  type LogEntry,
  type LogReadOptions,
  type OneOrSeveral,
} from "./client/log.js";
export {
  type ComputeOptions,
  createMap,
  type MapEntry,
  type MapOptions,
  type MapPutOptions,
  type MapRemoveOptions,
  type VersionedMap,
} from "./client/map.js";
export {
  openPresence,
  type Presence,
  type PresenceChange,
  type PresenceMember,
  type PresenceOptions,
} from "./client/presence.js";
export {
  type CallbackOptions,
  createPubsub,
  type EventHandler,
  type EventHandlers,
  type EventStatus,
  type EventSubscription,
  type Message,
  type PublishOptions,
  type Pubsub,
  type SubscribeOptions,
  type TopicEvent,
} from "./client/pubsub.js";
export { type RetryOptions, withRetry } from "./client/retry.js";
export { createSecrets, type Secret, type SecretStore } from "./client/secrets.js";
export { createSequencer, type IdsOptions, type NextOptions, type Sequencer } from "./client/sequencer.js";
export {
  createService,
  type InvocationHandler,
  type InvokeInit,
  type InvokeOptions,
  type Service,
} from "./client/service.js";
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
} from "./client/state.js";
export type { ConnectionState, Status, StatusChange } from "./client/status.js";
export { type Token, withToken } from "./client/token.js";
export type { Serving } from "./transport/tunnel.js";
