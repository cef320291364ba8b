import { Code, ConnectError } from "@connectrpc/connect";
import { ConsumeRequestSchema, LogRecordSchema } from "../../gen/atomix/log/log_pb.js";
import {
  GetRequestSchema,
  GetResponseSchema,
  PutRequestSchema,
  PutResponseSchema,
  RemoveRequestSchema,
  RemoveResponseSchema,
  ValueSchema,
} from "../../gen/atomix/pb/map/map_pb.js";
import * as R from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import type { ClientOptions } from "../../src/index.js";
import { answered, asked, failed, LOST, type Tamper, unsent } from "./tamper.js";

/** A client that does one thing wrong, and the scenarios that must tell. */
export interface Mutant {
  name: string;
  told: readonly string[];
  tamper?: Tamper;
  options?: ClientOptions;
}

const CALLS = R.Runtime.method;
const lossy = (big: bigint) => BigInt(Number(big));

export const mutants: readonly Mutant[] = [
  {
    name: "sends everything again where no answer came",
    options: { retry: { calls: "all" } },
    told: ["publish-away", "binding-away", "map-put-away", "service-status-go"],
  },
  {
    name: "never tries a read again",
    options: { retry: false },
    told: ["state-retry-info", "map-not-primary"],
  },
  {
    name: "tries again before the server asks for it",
    tamper: failed((error) => new ConnectError(error.rawMessage, error.code)),
    told: ["state-retry-info"],
  },
  {
    name: "takes errors for empty answers",
    tamper: failed(() => undefined),
    told: [
      ...["canceled", "unknown", "invalid-argument", "deadline-exceeded", "already-exists"].map(
        (id) => `error-${id}`,
      ),
      ...["permission-denied", "resource-exhausted", "failed-precondition", "aborted"].map(
        (id) => `error-${id}`,
      ),
      ...["out-of-range", "unimplemented", "internal", "unavailable", "data-loss"].map((id) => `error-${id}`),
      ...[
        "error-unauthenticated",
        "error-not-configured",
        "error-text",
        "state-conflict",
        "state-conflict-details",
      ],
      ...[
        "state-delete-conflict",
        "state-save-lost",
        "state-transaction-conflict",
        "state-transaction-failed",
      ],
      ...["state-transaction-unsupported", "state-transaction-memory-conflict", "state-never"],
      ...[
        "lock-contention-error",
        "lock-lost-answer",
        "ids-swap-error",
        "ids-option-refused",
        "publish-refused",
      ],
      ...["file-directory", "file-breaks-unavailable", "file-breaks-internal", "file-breaks-dataloss"],
      ...["list-breaks", "delete-missing", "delete-missing-go", "delete-refused", "items-unknown-store"],
      ...["map-unknown", "map-conflict", "map-forbidden", "secret-failed", "binding-failed", "hello-unknown"],
      ...["lifecycle-refused", "append-away", "put-refused", "read-refused", "consume-taken", "file-missing"],
    ],
  },
  {
    name: "goes by the code alone",
    tamper: failed(({ code }) => new ConnectError("it failed", code)),
    told: [
      ...[
        "file-missing-go",
        "file-missing-minio",
        "delete-missing-go",
        "secret-missing-file",
        "hello-unknown",
      ],
      ...["state-transaction-conflict", "state-transaction-memory-conflict", "map-conflict-atomix"],
      ...[
        "map-remove-conflict-atomix",
        "items-unknown-store",
        "error-not-configured",
        "error-text",
        "binding-failed",
      ],
    ],
  },
  {
    name: "takes every failure inside for a missing entry",
    tamper: failed(
      ({ code, rawMessage }) => new ConnectError(rawMessage, code === Code.Internal ? Code.NotFound : code),
    ),
    told: [
      "file-directory",
      "delete-refused",
      "secret-failed",
      "list-breaks",
      "put-refused",
      "error-internal",
    ],
  },
  {
    name: "takes every refusal for a conflict",
    tamper: failed(
      ({ code, rawMessage }) =>
        new ConnectError(
          rawMessage,
          code === Code.PermissionDenied || code === Code.Internal ? Code.Aborted : code,
        ),
    ),
    told: ["map-forbidden", "state-transaction-failed"],
  },
  {
    name: "takes no data for a missing entry",
    tamper: answered(R.GetStateResponseSchema, (message) => {
      if (message.data.length === 0) message.etag = "";
    }),
    told: ["state-empty"],
  },
  {
    name: "takes no etag for a missing entry",
    tamper: answered(R.GetStateResponseSchema, (message) => {
      if (message.etag === "") message.data = new Uint8Array();
    }),
    told: ["state-without-etags"],
  },
  {
    name: "takes etags for numbers",
    tamper: answered(R.GetStateResponseSchema, (message) => {
      message.etag = String(Number.parseInt(message.etag, 10));
    }),
    told: ["state-etag-opaque", "state-missing"],
  },
  {
    name: "sends no etag where none is asked for",
    tamper: (transport) =>
      asked(
        R.DeleteStateRequestSchema,
        (message) => void (message.etag = undefined),
      )(
        asked(R.ExecuteStateTransactionRequestSchema, ({ operations }) => {
          for (const { request } of operations) if (request?.etag?.value === "0") request.etag = undefined;
        })(transport),
      ),
    told: ["state-delete-no-etag", "state-transaction-delete", "state-delete-conflict"],
  },
  {
    name: "forgets the condition of a write",
    tamper: asked(R.SaveStateRequestSchema, ({ states }) => {
      for (const state of states) state.etag = undefined;
    }),
    told: ["state-conflict", "state-update"],
  },
  {
    name: "has a bulk answer by position",
    tamper: answered(R.GetBulkStateResponseSchema, ({ items }, _, request) => {
      const { keys } = request as { keys: string[] };
      for (const [i, item] of items.entries()) item.key = keys[i] ?? item.key;
    }),
    told: ["bulk-order", "bulk-duplicates", "bulk-duplicates-once"],
  },
  {
    name: "drops what failed of a bulk answer",
    tamper: answered(R.GetBulkStateResponseSchema, ({ items }) => {
      for (const item of items) item.error = "";
    }),
    told: ["bulk-errors", "bulk-odd-keys"],
  },
  {
    name: "takes empty items of a bulk answer for missing",
    tamper: answered(R.GetBulkStateResponseSchema, ({ items }) => {
      for (const item of items) if (item.data.length === 0) item.etag = "";
    }),
    told: ["bulk-missing"],
  },
  {
    name: "has 53 bits for ids",
    tamper: answered(R.GetNextIdResponseSchema, (message) => void (message.nextId = lossy(message.nextId))),
    told: ["ids-large"],
  },
  {
    name: "has 53 bits for versions",
    tamper: (transport) =>
      answered(
        PutResponseSchema,
        (message) => void (message.version = lossy(message.version)),
      )(
        answered(GetResponseSchema, ({ value }) => {
          if (value) value.version = lossy(value.version);
        })(transport),
      ),
    told: ["map-put", "map-version-large"],
  },
  {
    name: "has 53 bits for offsets",
    tamper: answered(LogRecordSchema, (message) => void (message.offset = lossy(message.offset))),
    told: ["read-large-offset"],
  },
  {
    name: "takes every status for success",
    tamper: (transport) =>
      answered(
        R.UnlockResponseSchema,
        (message) => void (message.status = 0),
      )(answered(R.LockKeepAliveResponseSchema, (message) => void (message.status = 0))(transport)),
    told: [
      ...["lock-release-gone", "lock-release-others", "lock-release-internal", "lock-release-unknown-status"],
      ...["lock-renewal-gone", "lock-renewal-others", "lock-renewal-unknown-status"],
    ],
  },
  {
    name: "takes every answer for a grant",
    tamper: answered(R.TryLockResponseSchema, (message) => void (message.success = true)),
    told: ["lock-refused"],
  },
  {
    name: "has one owner for all",
    tamper: asked(R.TryLockRequestSchema, (message) => void (message.lockOwner = "me")),
    told: ["lock-owners", "lock-release-owner", "lock-renewed"],
  },
  {
    name: "gives nothing back",
    tamper: unsent(CALLS.unlock),
    told: ["lock-late-grant", "lock-lost-answer", "lock-release-owner", "lock-release-gone"],
  },
  {
    name: "believes that its leases last",
    tamper: unsent(CALLS.lockKeepAlive),
    told: ["lock-renewed", "lock-renewal-gone", "lock-renewal-others", "lock-renewal-fails"],
  },
  {
    name: "takes a fence for a number",
    tamper: answered(R.TryLockResponseSchema, (_, headers) => {
      const fence = headers.get("fairlead-fence");
      headers.set("fairlead-fence", fence === null ? "0" : String(Number(fence)));
    }),
    told: ["lock-fence", "lock-no-fence"],
  },
  {
    name: "believes that it has the block that it asked for",
    tamper: answered(R.GetNextIdResponseSchema, (_, headers) => headers.set("fairlead-id-count", "1000")),
    told: ["ids-block", "ids-no-blocks", "ids-jump"],
  },
  {
    name: "does not ask for what has to grow",
    tamper: asked(R.GetNextIdRequestSchema, (message) => void (message.options = undefined)),
    told: ["ids-strong"],
  },
  {
    name: "answers no events",
    tamper: asked(R.SubscribeTopicEventsRequestSchema, ({ subscribeTopicEventsRequestType: type }) =>
      type.case === "eventProcessed" ? LOST : undefined,
    ),
    told: ["consume-ack", "consume-retry", "consume-drop", "consume-again"],
  },
  {
    name: "answers every event by SUCCESS",
    tamper: asked(R.SubscribeTopicEventsRequestSchema, ({ subscribeTopicEventsRequestType: type }) => {
      if (type.case === "eventProcessed") type.value.status = undefined;
    }),
    told: ["consume-retry", "consume-drop", "consume-again"],
  },
  {
    name: "takes all data for bytes",
    tamper: answered(R.SubscribeTopicEventsResponseSchema, ({ subscribeTopicEventsResponseType: type }) => {
      if (type.case === "eventMessage") type.value.dataContentType = "application/octet-stream";
    }),
    told: ["event-json", "event-json-parameters", "event-json-suffix", "event-json-quoted"],
  },
  {
    name: "takes all data for JSON",
    tamper: answered(R.SubscribeTopicEventsResponseSchema, ({ subscribeTopicEventsResponseType: type }) => {
      if (type.case === "eventMessage") type.value.dataContentType = "application/json";
    }),
    told: ["event-text", "event-empty"],
  },
  {
    name: "ends at a message that it does not know",
    tamper: answered(R.SubscribeTopicEventsResponseSchema, ({ subscribeTopicEventsResponseType: type }) => {
      if (type.case === undefined) throw new ConnectError("what is this?", Code.Internal);
    }),
    told: ["consume-unknown-message"],
  },
  {
    name: "publishes everything as bytes",
    tamper: asked(R.PublishEventRequestSchema, (message) => {
      message.dataContentType = "application/octet-stream";
    }),
    told: ["publish-json", "publish-text"],
  },
  {
    name: "never lets go of a stream",
    tamper: (transport) => ({
      ...transport,
      stream: (method, _, ...rest) => transport.stream(method, undefined, ...rest),
    }),
    told: ["file-left", "read-left", "follow-left"],
  },
  {
    name: "waits for ever",
    tamper: (transport) => ({
      ...transport,
      unary: (method, signal, _, ...rest) => transport.unary(method, signal, undefined, ...rest),
    }),
    told: ["state-never"],
  },
  {
    name: "ends a file with an empty piece",
    tamper: (transport) => ({
      ...transport,
      async stream(...args) {
        const answer = await transport.stream(...args);
        const untilEmpty = async function* () {
          for await (const message of answer.message) {
            if ("data" in message && (message.data as Uint8Array).length === 0) return;
            yield message;
          }
        };
        return { ...answer, message: untilEmpty() };
      },
    }),
    told: ["file-odd-pieces"],
  },
  {
    name: "reads each piece of a file as a text of its own",
    tamper: answered(R.GetFileResponseSchema, (message) => {
      message.data = new TextEncoder().encode(new TextDecoder().decode(message.data));
    }),
    told: ["file-split-character"],
  },
  {
    name: "believes that it has the range that it asked for",
    tamper: answered(R.GetFileResponseSchema, (_, headers) => headers.set("fairlead-range", "0-1")),
    told: ["file-range-ignored"],
  },
  {
    name: "reads the first nineteen characters of a time",
    tamper: answered(R.GetFileMetaResponseSchema, (message) => {
      message.lastModified = `${message.lastModified.slice(0, 19)}Z`;
    }),
    told: ["time-rfc3339", "time-go", "time-go-zone", "time-go-seconds"],
  },
  {
    name: "takes an unknown time for now",
    tamper: answered(R.GetFileMetaResponseSchema, (message) => {
      if (Number.isNaN(Date.parse(message.lastModified))) message.lastModified = new Date().toISOString();
    }),
    told: ["time-unreadable", "time-none"],
  },
  {
    name: "has 32 bits for sizes",
    tamper: answered(
      R.GetFileMetaResponseSchema,
      (message) => void (message.size = BigInt.asUintN(32, message.size)),
    ),
    told: ["time-rfc3339"],
  },
  {
    name: "lists from the last name instead of the marker",
    tamper: answered(
      R.ListFileRespSchema,
      (message) => void (message.marker = message.files.at(-1)?.fileName ?? ""),
    ),
    told: ["list-pages", "list-empty-page"],
  },
  {
    name: "lists on wherever there is a marker",
    tamper: answered(R.ListFileRespSchema, (message) => void (message.isTruncated = message.marker !== "")),
    told: ["list-no-more"],
  },
  {
    name: "lists without end",
    tamper: (transport) => {
      let page = 0;
      return answered(R.ListFileRespSchema, (message) => {
        if (message.isTruncated) message.marker = `${message.marker}${page++}`;
      })(transport);
    },
    told: ["list-stuck"],
  },
  {
    name: "lists the first page only",
    tamper: answered(R.ListFileRespSchema, (message) => void (message.isTruncated = false)),
    told: ["list-pages", "list-empty-page", "list-breaks", "list-stuck"],
  },
  {
    name: "sends no metadata with a file",
    tamper: asked(R.PutFileRequestSchema, (message) => void (message.metadata = {})),
    told: ["put-first-message"],
  },
  {
    name: "sends no message of an empty file",
    tamper: asked(R.PutFileRequestSchema, ({ data }) => (data.length === 0 ? LOST : undefined)),
    told: ["put-empty", "put-first-message"],
  },
  {
    name: "takes the partition 1 for every key",
    tamper: asked(GetRequestSchema, ({ header }) => {
      if (header) header.partition = 1;
    }),
    told: ["map-partition"],
  },
  {
    name: "forgets the version that it has to find",
    tamper: (transport) =>
      asked(PutRequestSchema, ({ value }) => {
        if (value) value.version = 0n;
      })(
        asked(RemoveRequestSchema, ({ value }) => {
          if (value) value.version = 0n;
        })(transport),
      ),
    told: ["map-conflict", "map-remove-conflict-atomix"],
  },
  {
    name: "takes no entry for an empty one",
    tamper: (transport) =>
      answered(GetResponseSchema, (message) => {
        message.value ??= { $typeName: ValueSchema.typeName, value: new Uint8Array(), version: 0n };
      })(
        answered(RemoveResponseSchema, (message) => {
          message.value ??= { $typeName: ValueSchema.typeName, value: new Uint8Array(), version: 0n };
        })(transport),
      ),
    told: ["map-missing", "map-partition", "map-removed-nothing"],
  },
  {
    name: "takes an empty entry for none",
    tamper: answered(GetResponseSchema, (message) => {
      if (message.value?.value.length === 0) message.value = undefined;
    }),
    told: ["map-empty"],
  },
  {
    name: "reads a log from its begin after each break",
    tamper: asked(ConsumeRequestSchema, (message) => void (message.offset = 0n)),
    told: ["read-breaks", "read-ends", "read-large-offset"],
  },
  {
    name: "takes nanoseconds for milliseconds",
    tamper: answered(LogRecordSchema, (message) => void (message.timestamp /= 1_000_000n)),
    told: ["read-records", "read-skips-forward", "read-too-early", "read-repeats"],
  },
  {
    name: "is deaf for what a subscription tells",
    tamper: answered(R.SubscribeConfigurationResponseSchema, (message) => void (message.items = [])),
    told: [
      ...["follow-pushed", "follow-changes", "follow-no-items", "follow-several", "follow-deleted-go"],
      ...["follow-deleted", "follow-other-keys", "follow-half-open", "follow-ends-ok", "follow-ends-eof"],
      ...["follow-ends-unavailable", "follow-ends-internal"],
    ],
  },
  {
    name: "never reads the values",
    tamper: answered(R.GetConfigurationResponseSchema, (message) => void (message.items = [])),
    told: ["follow-silent-at-first", "follow-changes", "follow-no-items", "items-missing", "items-empty"],
  },
  {
    name: "takes empty content for a value",
    tamper: answered(R.GetConfigurationResponseSchema, ({ items }) => {
      for (const item of items) item.content ||= " ";
    }),
    told: ["items-empty"],
  },
  {
    name: "takes the first item of each answer",
    tamper: answered(R.SubscribeConfigurationResponseSchema, ({ items }) => void items.splice(1)),
    told: ["follow-several"],
  },
  {
    name: "cannot live with an answer without items",
    tamper: answered(R.SubscribeConfigurationResponseSchema, ({ items }) => {
      if (items.length === 0) throw new ConnectError("items[0] is undefined", Code.Unimplemented);
    }),
    told: ["follow-no-items"],
  },
  {
    name: "takes every item for one of its own",
    tamper: answered(R.SubscribeConfigurationResponseSchema, ({ items }) => {
      for (const item of items) if (item.key === "ab") item.key = "b";
    }),
    told: ["follow-other-keys"],
  },
  {
    name: "ends its requests with the first",
    tamper: (transport) => ({
      ...transport,
      stream(method, signal, timeoutMs, header, input, values) {
        const first = async function* () {
          for await (const message of input) {
            yield message;
            return;
          }
        };
        const ended = method.name === CALLS.subscribeConfiguration.name ? first() : input;
        return transport.stream(method, signal, timeoutMs, header, ended, values);
      },
    }),
    told: ["follow-half-open"],
  },
  {
    name: "takes an empty secret for one",
    tamper: answered(R.GetSecretResponseSchema, (_, headers) => headers.set("fairlead-server", "1")),
    told: ["secret-missing-environment"],
  },
  {
    name: "takes the first part of a secret for all of it",
    tamper: answered(R.GetSecretResponseSchema, (message) => {
      message.data = Object.fromEntries(Object.entries(message.data).slice(0, 1));
    }),
    told: ["secret-parts"],
  },
  {
    name: "calls a service without a verb",
    tamper: asked(R.InvokeServiceRequestSchema, ({ message }) => {
      if (message) message.httpExtension = undefined;
    }),
    told: ["service-answer-go"],
  },
  {
    name: "forgets what it was to send",
    tamper: asked(R.InvokeBindingRequestSchema, (message) => void (message.data = new Uint8Array())),
    told: ["binding-answer"],
  },
];
