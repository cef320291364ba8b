import { Code, ConnectError } from "@connectrpc/connect";
import type { Mutant } from "../mutants.js";
import { failed } from "../tamper.js";

/** Clients that go wrong about errors. */
export const errorsMutants: readonly Mutant[] = [
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
    timed: true,
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
];
