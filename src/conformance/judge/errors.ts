import { Code } from "@connectrpc/connect";
import { codeName, type Scenario, serverError } from "./scenario.js";

/** The message of existing servers for each code with which a read may fail. */
const TEXTS: readonly (readonly [Code, string, Scenario["rule"]])[] = [
  [Code.Canceled, "context canceled", "Go runtime: 0 a canceled context keeps its code"],
  [Code.Unknown, "key/keyPrefix 'a||b' can't contain '||'", "Go runtime: 0.1 a plain error is Unknown"],
  [Code.InvalidArgument, "state store s is not found", "unknown store, pubsub, binding, hello or app"],
  [Code.DeadlineExceeded, "context deadline exceeded", "Go runtime: 0 a deadline of its own keeps its code"],
  [Code.AlreadyExists, "file exists", "Go runtime: 8.1 the table of file errors"],
  [
    Code.PermissionDenied,
    "role reader may not do this",
    "the caller has no or a bad credential / may not do this",
  ],
  [Code.ResourceExhausted, "message larger than max (5000000 vs. 4194304)", "a limit is hit"],
  [Code.FailedPrecondition, "the store is read only", "anything else"],
  [Code.Aborted, "possible etag mismatch", "etag, version or fence does not match"],
  [Code.OutOfRange, "beyond the end", "anything else"],
  [Code.Unimplemented, "unknown method GetState", "anything else"],
  [Code.Internal, "fail to get k from state store s: connection refused", "anything else"],
  [Code.Unavailable, "the server is closing", "the engine is away"],
  [Code.DataLoss, "file expired", "Go runtime: 8.1 the table of file errors"],
  [Code.Unauthenticated, "no token", "the caller has no or a bad credential / may not do this"],
];

/** Scenarios of every error code, and of the error message. */
export const errorScenarios: readonly Scenario[] = [
  ...TEXTS.map(
    ([code, text, rule]): Scenario => ({
      id: `error-${codeName(code).replaceAll("_", "-")}`,
      primitive: "calls",
      sentence: `a call that fails as ${codeName(code)} has that code in the client`,
      rule,
      operation: { call: "state.get", key: "k" },
      expected: { code: codeName(code) },
      createScript: () => ({
        getState() {
          throw serverError(code, text);
        },
      }),
    }),
  ),
  {
    id: "error-not-configured",
    primitive: "calls",
    sentence: "that there is no store of the kind at all has the code of an unknown store",
    rule: "Go runtime: 0 no component of the kind is FailedPrecondition",
    operation: { call: "state.get", key: "k" },
    expected: { code: "invalid_argument" },
    createScript: () => ({
      getState() {
        throw serverError(Code.FailedPrecondition, "state store is not configured");
      },
    }),
  },
  {
    id: "error-text",
    primitive: "calls",
    sentence: "the text of an error arrives as it was sent",
    rule: "Go runtime: 0 a % in a file name becomes %!x(...)",
    operation: { call: "state.get", key: "k" },
    expected: { code: "internal", message: "100%!x(MISSING) — “größer”\n\t%41 日本" },
    createScript: () => ({
      getState() {
        throw serverError(Code.Internal, "100%!x(MISSING) — “größer”\n\t%41 日本");
      },
    }),
  },
];
