/** The topics of the rows of decisions.md. Each case of the suite checks one of them. */
export const RULES = [
  "a required field is empty, an enum number or a number is out of range, a name is malformed",
  "unknown store, pubsub, binding, hello or app",
  "no entry where one is required",
  "etag, version or fence does not match",
  "malformed etag or version",
  "a transaction's operation type is not upsert or delete",
  "not the primary of the partition",
  "the caller has no or a bad credential / may not do this",
  "a limit is hit",
  "the engine is away",
  "anything else",
  "keys",
  "GetState of a missing key",
  "etag",
  "etag given",
  "FIRST_WRITE without etag",
  "SaveState, DeleteBulkState",
  "ExecuteStateTransaction",
  "ttlInSeconds",
  "consistency",
  "GetBulkState",
  "GetNextId",
  "TryLock",
  "Unlock",
  "LockKeepAlive",
  "lease time",
  "PublishEvent",
  "consumer groups",
  "delivery",
  "AppCallback",
  "SubscribeTopicEvents",
  "SubscribeConfiguration",
  "configuration identity",
  "PutFile",
  "ListFile",
  "last_modified",
  "InvokeService",
  "InvokeBinding",
  "secrets",
  "ApplyConfiguration",
  "SayHello",
  "MapService addressing",
  "versions",
  "Put, Remove with value.version > 0",
  "Backup",
  "gossip timestamps",
  "gossip repair",
  "log name",
  "Produce",
  "Consume",
] as const;

/** The source of a case: a row of decisions.md, or a name on a reference page. */
export type ConformanceRule = (typeof RULES)[number] | `reference: ${string}`;

export const REQUIRED =
  "a required field is empty, an enum number or a number is out of range, a name is malformed";
export const UNKNOWN = "unknown store, pubsub, binding, hello or app";
export const MISSING = "no entry where one is required";
export const MISMATCH = "etag, version or fence does not match";
export const MALFORMED = "malformed etag or version";
export const LIMIT = "a limit is hit";

/** The maximum bytes of a value: gRPC clients read messages of at most 4 MiB by default. */
export const MAX_VALUE_BYTES = 4 * 1024 ** 2 - 16 * 1024;
