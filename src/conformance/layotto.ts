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
import { anotherValue, base64Value, deviationsOf, emptyValue, missingEtag } from "./layotto/deviation.js";
import type { Deviation, Profile } from "./profile.js";
import { type ConformanceRule, LIMIT, MALFORMED, MISMATCH, REQUIRED, UNKNOWN } from "./rules.js";

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
const commonDeviations: Deviation[] = (Object.keys(FLOORS) as Primitive[]).flatMap(
  (primitive): Deviation[] => {
    const deviation = deviationsOf(primitive);
    return [
      deviation(
        REQUIRED,
        "required fields and enum numbers are seldom checked, and no error has details (0, 12)",
        [unexpectedAnswer, missingDetails, errorWithCode(InvalidArgument, Unknown, Internal, Unimplemented)],
      ),
      deviation(
        UNKNOWN,
        'an unknown component is another code for some kinds, without details (0: "not configured")',
        [missingDetails, errorWithCode(Unknown, Internal, InvalidArgument)],
      ),
      deviation(LIMIT, "there is no limit but gRPC's 4 MiB for a request (0: Max request)", [
        unexpectedAnswer,
        missingDetails,
        errorWithCode(Unknown, Internal, InvalidArgument, ResourceExhausted),
      ]),
      deviation(MISMATCH, "no error has details (0: Response metadata / trailers)", [
        missingDetails,
        errorWithCode(Unknown, Internal),
      ]),
    ];
  },
);

const deviation = deviationsOf("state");
const stateDeviations: Deviation[] = [
  deviation(
    "keys",
    "a key with || is refused as unknown (0.1)",
    [errorWithCode(Unknown)],
    /\|\||no two that differ/,
  ),
  deviation("keys", "the in-memory store gives values in base64 (6.6)", [base64Value]),
  deviation(
    "etag",
    "an etag that is unset is an empty one there (6.1)",
    [errorWithCode(Aborted, Internal)],
    /no etag|etag ""/,
  ),
  deviation("etag", "versions begin at 1 again (6.4)", [unexpectedAnswer], /deleted and written again/),
  deviation("etag", "the in-memory store gives values in base64, and makes no etags (6.6)", [
    base64Value,
    missingEtag,
    unexpectedAnswer,
  ]),
  deviation("etag given", "on a missing key the write succeeds, and LAST_WRITE ignores etags (6.4)", [
    unexpectedAnswer,
    missingDetails,
  ]),
  deviation("etag given", "the in-memory store ignores etags, and gives values in base64 (6.6)", [
    base64Value,
    anotherValue,
  ]),
  deviation(MALFORMED, "a malformed etag is checked late, and not with LAST_WRITE (6.4)", [
    unexpectedAnswer,
    errorWithCode(Aborted, Internal, Unknown),
  ]),
  deviation("FIRST_WRITE without etag", "FIRST_WRITE overwrites a plain key, and is sticky (6.4)", [
    unexpectedAnswer,
    missingDetails,
    anotherValue,
    errorWithCode(Internal, Aborted),
  ]),
  deviation("SaveState, DeleteBulkState", "batches are not atomic, and bulk deletes answer unknown (6.2)", [
    unexpectedAnswer,
    missingDetails,
    anotherValue,
    errorWithCode(Unknown, Aborted, Internal),
    finding("half of a batch", /^not true: /),
  ]),
  deviation("ExecuteStateTransaction", "a failing operation leaves the others applied, as internal (6.5)", [
    unexpectedAnswer,
    missingDetails,
    anotherValue,
    errorWithCode(Internal),
  ]),
  deviation("a transaction's operation type is not upsert or delete", "it is unimplemented (6.5)", [
    errorWithCode(Unimplemented),
  ]),
  deviation("ttlInSeconds", "the remaining ttl is not returned, and a malformed ttl is internal (6.4)", [
    emptyValue,
    errorWithCode(Internal),
    unexpectedAnswer,
    finding("no ttlRemainingMs", /ttlRemainingMs|remaining|^not true: /),
  ]),
  deviation("ttlInSeconds", "the in-memory store keeps everything for ever (6.6)", [anotherValue]),
  deviation("GetBulkState", "items come in the order of completion, duplicates twice (6.3)", [anotherValue]),
  deviation("GetState of a missing key", "the in-memory store gives values in base64, and no etags (6.6)", [
    base64Value,
    missingEtag,
  ]),
  deviation("consistency", "the in-memory store gives values in base64 (6.6)", [base64Value, anotherValue]),
];

const lock = deviationsOf("lock");
const sequencer = deviationsOf("sequencer");
const pubsub = deviationsOf("pubsub");
const files = deviationsOf("files");
const configuration = deviationsOf("configuration");
const MISSING: ConformanceRule = "no entry where one is required";

const otherDeviations: Deviation[] = [
  lock(
    "TryLock",
    "a resource with || is refused as unknown (4)",
    [errorWithCode(Unknown)],
    /different resources/,
  ),
  lock("TryLock", "no error has details (0)", [missingDetails], /invalid_argument/),
  lock("Unlock", "the in-memory store forgets a lock's expiry when it unlocks (4)", [anotherValue], /expiry/),
  lock("LockKeepAlive", "it is always internal: nothing implements it (4.1)", [errorWithCode(Internal)]),
  sequencer(
    "GetNextId",
    "a key with || is refused as unknown (5)",
    [errorWithCode(Unknown)],
    /keys have sequences/,
  ),
  sequencer("GetNextId", "stores share a key's ids (5)", [anotherValue], /another sequence/),
  sequencer(
    "GetNextId",
    "the in-memory store ignores biggerThan (5)",
    [finding("a low id", /^not true: /)],
    /with a floor/,
  ),
  pubsub("PublishEvent", "JSON is encoded again, other types and metadata arrive empty (7.1, 7.3)", [
    anotherValue,
    emptyValue,
    unexpectedAnswer,
    missingDetails,
    noMessage,
  ]),
  pubsub("PublishEvent", "a second stream on a topic ends, as unknown (7.4)", [
    earlyEnd,
    errorWithCode(Unknown),
  ]),
  pubsub("delivery", "no groups, no dead letters, ten attempts at once (7.3)", [
    anotherValue,
    emptyValue,
    noMessage,
    earlyEnd,
    errorWithCode(Unknown),
    finding("an event that was not to come", /nothing was to come/),
  ]),
  pubsub("SubscribeTopicEvents", "one stream per topic, half-close is an error (7.4)", [
    anotherValue,
    noMessage,
    earlyEnd,
    errorWithCode(Unknown),
  ]),
  pubsub("AppCallback", "an app is asked once, at the start (7.2)", [noMessage, earlyEnd]),
  files("PutFile", "names are paths below a folder that has to be there, and 64 KiB is no bound (8.1, 8.2)", [
    errorWithCode(Internal, Unimplemented),
    missingDetails,
    anotherValue,
    unexpectedAnswer,
    finding("chunks of 100 KiB", /^not true: /),
  ]),
  files("ListFile", "name is a directory, a marker has to exist (8.2)", [
    anotherValue,
    errorWithCode(Internal),
  ]),
  files("last_modified", "it is Go's time text (8.2)", [
    anotherValue,
    finding("Go's time text", /^not true: /),
    errorWithCode(Internal),
  ]),
  files(MISSING, "GetFile and DelFile answer internal, % is mangled (8.1, 0)", [
    errorWithCode(Internal),
    missingDetails,
    finding("a mangled name", /^not true: /),
  ]),
  configuration("configuration identity", "the key alone is the identity, empty content is stored (3)", [
    anotherValue,
  ]),
  configuration(
    "SubscribeConfiguration",
    "one subscriber for each key, deletions are not sent, half-close is an error (3.1)",
    [anotherValue, noMessage, earlyEnd, errorWithCode(Unknown)],
  ),
  deviationsOf("secrets")(MISSING, "a missing secret is internal, or empty (10)", [
    errorWithCode(Internal),
    unexpectedAnswer,
  ]),
  deviationsOf("secrets")("secrets", "an environment store answers any name (10)", [
    unexpectedAnswer,
    anotherValue,
    errorWithCode(Internal),
  ]),
  deviationsOf("bindings")("InvokeBinding", "every failure is internal (9)", [
    errorWithCode(Internal),
    anotherValue,
    missingDetails,
  ]),
  deviationsOf("service")("InvokeService", "statuses but 200 are an error that quotes them (2)", [
    errorWithMessage(/http response code \d+/),
  ]),
  deviationsOf("service")("InvokeService", "nothing is checked, and content types do not travel (2)", [
    unexpectedAnswer,
    anotherValue,
    errorWithCode(Unknown, Internal),
  ]),
  deviationsOf("hello")("SayHello", "the greeting is the component's own (1)", [anotherValue], /greeting/),
  deviationsOf("lifecycle")("ApplyConfiguration", "only the greeting can change (11)", [
    missingDetails,
    unexpectedAnswer,
    anotherValue,
    errorWithCode(InvalidArgument, Unknown),
  ]),
];

/** The known deviations of the Go runtime (mosn/layotto). The numbers are the sections of runtime-behaviour.md. */
export const LAYOTTO: Profile = {
  name: "layotto",
  deviations: [...stateDeviations, ...otherDeviations, ...commonDeviations],
  floors: FLOORS,
};
