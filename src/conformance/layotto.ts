import { Code } from "@connectrpc/connect";
import type { Primitive } from "../server/primitives.js";
import {
  earlyEnd,
  errorWithCode,
  errorWithMessage,
  finding,
  missingDetails,
  noMessage,
  unexpectedAnswer,
} from "./expectation.js";
import { another, base64, noEtag, nothing, other } from "./layotto/deviation.js";
import type { Deviation, Profile } from "./profile.js";
import { LIMIT, MALFORMED, MISMATCH, REQUIRED, type Rule, UNKNOWN } from "./rules.js";

const { Aborted, Internal, InvalidArgument, Unimplemented, Unknown } = Code;
const { ResourceExhausted } = Code;

/** The primitives of the Go runtime, each with a floor: about half of the share of cases that pass on it with Redis. */
const FLOORS: Readonly<Partial<Record<Primitive, number>>> = {
  state: 0.15,
  lock: 0.2,
  sequencer: 0.3,
  pubsub: 0.05,
  files: 0.05,
  configuration: 0.05,
  secrets: 0.25,
  bindings: 0.05,
  service: 0.05,
  hello: 0.4,
  lifecycle: 0.03,
};

/** Deviations of all primitives: the Go runtime validates little before its components do. */
const everywhere: Deviation[] = (Object.keys(FLOORS) as Primitive[]).flatMap((primitive): Deviation[] => {
  const does = other(primitive);
  return [
    does(REQUIRED, "required fields and enum numbers are seldom checked, and no error has details (0, 12)", [
      unexpectedAnswer,
      missingDetails,
      errorWithCode(InvalidArgument, Unknown, Internal, Unimplemented),
    ]),
    does(
      UNKNOWN,
      'an unknown component is another code for some kinds, without details (0: "not configured")',
      [missingDetails, errorWithCode(Unknown, Internal, InvalidArgument)],
    ),
    does(LIMIT, "there is no limit but gRPC's 4 MiB for a request (0: Max request)", [
      unexpectedAnswer,
      missingDetails,
      errorWithCode(Unknown, Internal, InvalidArgument, ResourceExhausted),
    ]),
    does(MISMATCH, "no error has details (0: Response metadata / trailers)", [
      missingDetails,
      errorWithCode(Unknown, Internal),
    ]),
  ];
});

const on = other("state");
const state: Deviation[] = [
  on(
    "keys",
    "a key with || is refused as unknown (0.1)",
    [errorWithCode(Unknown)],
    /\|\||no two that differ/,
  ),
  on("keys", "the in-memory store gives values in base64 (6.6)", [base64]),
  on(
    "etag",
    "an etag that is unset is an empty one there (6.1)",
    [errorWithCode(Aborted, Internal)],
    /no etag|etag ""/,
  ),
  on("etag", "versions begin at 1 again (6.4)", [unexpectedAnswer], /deleted and written again/),
  on("etag", "the in-memory store gives values in base64, and makes no etags (6.6)", [
    base64,
    noEtag,
    unexpectedAnswer,
  ]),
  on("etag given", "on a missing key the write succeeds, and LAST_WRITE ignores etags (6.4)", [
    unexpectedAnswer,
    missingDetails,
  ]),
  on("etag given", "the in-memory store ignores etags, and gives values in base64 (6.6)", [base64, another]),
  on(MALFORMED, "a malformed etag is checked late, and not with LAST_WRITE (6.4)", [
    unexpectedAnswer,
    errorWithCode(Aborted, Internal, Unknown),
  ]),
  on("FIRST_WRITE without etag", "FIRST_WRITE overwrites a plain key, and is sticky (6.4)", [
    unexpectedAnswer,
    missingDetails,
    another,
    errorWithCode(Internal, Aborted),
  ]),
  on("SaveState, DeleteBulkState", "batches are not atomic, and bulk deletes answer unknown (6.2)", [
    unexpectedAnswer,
    missingDetails,
    another,
    errorWithCode(Unknown, Aborted, Internal),
    finding("half of a batch", /^not so: /),
  ]),
  on("ExecuteStateTransaction", "a failing operation leaves the others applied, as internal (6.5)", [
    unexpectedAnswer,
    missingDetails,
    another,
    errorWithCode(Internal),
  ]),
  on("a transaction's operation type is not upsert or delete", "it is unimplemented (6.5)", [
    errorWithCode(Unimplemented),
  ]),
  on("ttlInSeconds", "what is left is not told, and what is malformed is internal (6.4)", [
    nothing,
    errorWithCode(Internal),
    unexpectedAnswer,
    finding("no ttlRemainingMs", /ttlRemainingMs|remaining|^not so: /),
  ]),
  on("ttlInSeconds", "the in-memory store keeps everything for ever (6.6)", [another]),
  on("GetBulkState", "items come in the order of completion, duplicates twice (6.3)", [another]),
  on("GetState of a missing key", "the in-memory store gives values in base64, and no etags (6.6)", [
    base64,
    noEtag,
  ]),
  on("consistency", "the in-memory store gives values in base64 (6.6)", [base64, another]),
];

const lock = other("lock");
const sequencer = other("sequencer");
const pubsub = other("pubsub");
const files = other("files");
const configuration = other("configuration");
const MISSING: Rule = "no entry where one is required";

const others: Deviation[] = [
  lock(
    "TryLock",
    "a resource with || is refused as unknown (4)",
    [errorWithCode(Unknown)],
    /different resources/,
  ),
  lock("TryLock", "no error has details (0)", [missingDetails], /invalid_argument/),
  lock("Unlock", "the in-memory store forgets a lock's expiry when it unlocks (4)", [another], /expiry/),
  lock("LockKeepAlive", "it is always internal: nothing implements it (4.1)", [errorWithCode(Internal)]),
  sequencer(
    "GetNextId",
    "a key with || is refused as unknown (5)",
    [errorWithCode(Unknown)],
    /keys have sequences/,
  ),
  sequencer("GetNextId", "stores share a key's ids (5)", [another], /another sequence/),
  sequencer(
    "GetNextId",
    "the in-memory store ignores biggerThan (5)",
    [finding("a low id", /^not so: /)],
    /with a floor/,
  ),
  pubsub("PublishEvent", "JSON is coded anew, other types arrive empty, no metadata comes (7.1, 7.3)", [
    another,
    nothing,
    unexpectedAnswer,
    missingDetails,
    noMessage,
  ]),
  pubsub("PublishEvent", "a second stream on a topic ends, as unknown (7.4)", [
    earlyEnd,
    errorWithCode(Unknown),
  ]),
  pubsub("delivery", "no groups, no dead letters, ten attempts at once (7.3)", [
    another,
    nothing,
    noMessage,
    earlyEnd,
    errorWithCode(Unknown),
    finding("an event that was not to come", /nothing was to come/),
  ]),
  pubsub("SubscribeTopicEvents", "one stream per topic, half-close is an error (7.4)", [
    another,
    noMessage,
    earlyEnd,
    errorWithCode(Unknown),
  ]),
  pubsub("AppCallback", "an app is asked once, at the start (7.2)", [noMessage, earlyEnd]),
  files("PutFile", "names are paths below a folder that has to be there, and 64 KiB is no bound (8.1, 8.2)", [
    errorWithCode(Internal, Unimplemented),
    missingDetails,
    another,
    unexpectedAnswer,
    finding("chunks of 100 KiB", /^not so: /),
  ]),
  files("ListFile", "name is a directory, a marker has to exist (8.2)", [another, errorWithCode(Internal)]),
  files("last_modified", "it is Go's time text (8.2)", [
    another,
    finding("Go's time text", /^not so: /),
    errorWithCode(Internal),
  ]),
  files(MISSING, "GetFile and DelFile answer internal, % is mangled (8.1, 0)", [
    errorWithCode(Internal),
    missingDetails,
    finding("a mangled name", /^not so: /),
  ]),
  configuration("configuration identity", "the key alone is the identity, empty content is stored (3)", [
    another,
  ]),
  configuration(
    "SubscribeConfiguration",
    "one subscriber for each key, deletions are not told, half-close is an error (3.1)",
    [another, noMessage, earlyEnd, errorWithCode(Unknown)],
  ),
  other("secrets")(MISSING, "a missing secret is internal, or empty (10)", [
    errorWithCode(Internal),
    unexpectedAnswer,
  ]),
  other("secrets")("secrets", "an environment store answers any name (10)", [
    unexpectedAnswer,
    another,
    errorWithCode(Internal),
  ]),
  other("bindings")("InvokeBinding", "every failure is internal (9)", [
    errorWithCode(Internal),
    another,
    missingDetails,
  ]),
  other("service")("InvokeService", "statuses but 200 are an error that quotes them (2)", [
    errorWithMessage(/http response code \d+/),
  ]),
  other("service")("InvokeService", "nothing is checked, and content types do not travel (2)", [
    unexpectedAnswer,
    another,
    errorWithCode(Unknown, Internal),
  ]),
  other("hello")("SayHello", "the greeting is the component's own (1)", [another], /greeting/),
  other("lifecycle")("ApplyConfiguration", "only the greeting can change (11)", [
    missingDetails,
    unexpectedAnswer,
    another,
    errorWithCode(InvalidArgument, Unknown),
  ]),
];

/** The known deviations of the Go runtime (mosn/layotto). The numbers are the sections of runtime-behaviour.md. */
export const LAYOTTO: Profile = {
  name: "layotto",
  deviations: [...state, ...others, ...everywhere],
  floors: FLOORS,
};
