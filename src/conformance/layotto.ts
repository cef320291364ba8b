import type { Primitive } from "./case.js";
import type { Deviation, Profile } from "./profile.js";
import { LIMIT, MALFORMED, MISMATCH, REQUIRED, UNKNOWN } from "./rules.js";

/** The primitives of which the Go runtime checks little before its components do. */
const RUNTIME: readonly Primitive[] = [
  "state",
  "lock",
  "sequencer",
  "pubsub",
  "file",
  "configuration",
  "secrets",
  "bindings",
  "invocation",
  "hello",
  "lifecycle",
];

const everywhere: Deviation[] = RUNTIME.flatMap((primitive): Deviation[] => [
  {
    primitive,
    rule: REQUIRED,
    why: "required fields and enum numbers are seldom checked, and no error has details (0, 12)",
  },
  {
    primitive,
    rule: UNKNOWN,
    why: 'an unknown component is another code for some kinds, and no error has details (0: "not configured")',
  },
  { primitive, rule: LIMIT, why: "there is no limit but gRPC's 4 MiB for a request (0: Max request)" },
  { primitive, rule: MISMATCH, why: "no error has details (0: Response metadata / trailers)" },
]);

const state: Deviation[] = [
  { primitive: "state", rule: "keys", why: "a key with || is refused as unknown (0.1)" },
  {
    primitive: "state",
    rule: MALFORMED,
    why: "a malformed etag is checked late, and not with LAST_WRITE (6.4)",
  },
  {
    primitive: "state",
    rule: "etag",
    name: /DeleteState|transaction/,
    why: "an etag that is unset is an empty one there (6.1)",
  },
  {
    primitive: "state",
    rule: "etag",
    name: /deleted and written again/,
    why: "versions begin at 1 again (6.4)",
  },
  {
    primitive: "state",
    rule: "etag given",
    why: "on a missing key the write succeeds, and LAST_WRITE ignores etags (6.4)",
  },
  {
    primitive: "state",
    rule: "FIRST_WRITE without etag",
    why: "FIRST_WRITE overwrites a plain key, and is sticky (6.4)",
  },
  {
    primitive: "state",
    rule: "SaveState, DeleteBulkState",
    why: "batches are not atomic, and bulk deletes answer unknown (6.2)",
  },
  {
    primitive: "state",
    rule: "ExecuteStateTransaction",
    why: "a failing operation leaves the others applied, as internal (6.5)",
  },
  {
    primitive: "state",
    rule: "a transaction's operation type is not upsert or delete",
    why: "it is unimplemented (6.5)",
  },
  {
    primitive: "state",
    rule: "ttlInSeconds",
    why: "what is left is not told, and what is malformed is internal (6.4)",
  },
  {
    primitive: "state",
    rule: "GetBulkState",
    why: "items come in the order of completion, duplicates twice (6.3)",
  },
];

const others: Deviation[] = [
  {
    primitive: "lock",
    rule: "TryLock",
    name: /different resources/,
    why: "a resource with || is refused as unknown (4)",
  },
  { primitive: "lock", rule: "TryLock", name: /invalid_argument/, why: "no error has details (0)" },
  {
    primitive: "lock",
    rule: "Unlock",
    name: /expiry/,
    why: "the in-memory store forgets a lock's expiry when it unlocks (4)",
  },
  { primitive: "lock", rule: "LockKeepAlive", why: "it is always internal: nothing implements it (4.1)" },
  {
    primitive: "sequencer",
    rule: "GetNextId",
    name: /keys have sequences/,
    why: "a key with || is refused as unknown (5)",
  },
  {
    primitive: "sequencer",
    rule: "GetNextId",
    name: /another sequence/,
    why: "stores share a key's ids (5)",
  },
  {
    primitive: "sequencer",
    rule: "GetNextId",
    name: /with a floor/,
    why: "the in-memory store ignores biggerThan (5)",
  },
  {
    primitive: "pubsub",
    rule: "PublishEvent",
    why: "JSON is coded anew, other types arrive empty, no metadata comes (7.1, 7.3)",
  },
  { primitive: "pubsub", rule: "delivery", why: "no groups, no dead letters, ten attempts at once (7.3)" },
  {
    primitive: "pubsub",
    rule: "SubscribeTopicEvents",
    why: "one stream per topic, half-close is an error (7.4)",
  },
  { primitive: "pubsub", rule: "AppCallback", why: "an app is asked once, at the start (7.2)" },
  {
    primitive: "file",
    rule: "PutFile",
    why: "FileMode and FileFlag are required, and a write is seen before its end (8.2)",
  },
  { primitive: "file", rule: "ListFile", why: "name is a directory, a marker has to exist (8.2)" },
  { primitive: "file", rule: "last_modified", why: "it is Go's time text (8.2)" },
  {
    primitive: "file",
    rule: "no entry where one is required",
    why: "GetFile and DelFile answer internal, % is mangled (8.1, 0)",
  },
  {
    primitive: "configuration",
    rule: "configuration identity",
    why: "the key alone is the identity, empty content is stored (3)",
  },
  {
    primitive: "configuration",
    rule: "SubscribeConfiguration",
    why: "one subscriber for each key, deletions are not told, half-close is an error (3.1)",
  },
  {
    primitive: "secrets",
    rule: "no entry where one is required",
    why: "a missing secret is internal, or empty (10)",
  },
  { primitive: "secrets", rule: "secrets", why: "an environment store answers any name (10)" },
  { primitive: "bindings", rule: "InvokeBinding", why: "every failure is internal (9)" },
  {
    primitive: "invocation",
    rule: "InvokeService",
    why: "statuses but 200 are unavailable, content types do not travel (2)",
  },
  { primitive: "hello", rule: "SayHello", name: /greeting/, why: "the greeting is the component's own (1)" },
  { primitive: "lifecycle", rule: "ApplyConfiguration", why: "only the greeting can change (11)" },
];

/**
 * What the Go runtime (mosn/layotto) is known to do otherwise. The numbers are the sections of runtime-behaviour.md, which
 * says more.
 */
export const LAYOTTO: Profile = { name: "layotto", deviations: [...state, ...others, ...everywhere] };
