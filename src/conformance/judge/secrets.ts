import { Code } from "@connectrpc/connect";
import { failCall, type Scenario } from "./scenario.js";

const SECRET = { primitive: "secrets", rule: "secrets" } as const;
const secret = { call: "secrets.get", name: "S" } as const;

/** Possible answers to calls of secrets. */
export const secretScenarios: readonly Scenario[] = [
  {
    ...SECRET,
    id: "secret-missing",
    sentence: "a secret that is not found is a missing secret",
    rule: "no entry where one is required",
    operation: secret,
    expected: { value: null },
    createScript: () => ({ getSecret: failCall(Code.NotFound, "secret S is not there") }),
  },
  {
    ...SECRET,
    id: "secret-missing-file",
    sentence: "a missing secret that the Go runtime calls internal is a missing secret",
    rule: "Go runtime: 10 a component's error is Internal",
    operation: secret,
    expected: { value: null },
    createScript: () => ({
      getSecret: failCall(
        Code.Internal,
        "failed getting secret with key S from secret store s: secret S not found",
      ),
    }),
  },
  {
    ...SECRET,
    id: "secret-missing-environment",
    sentence: "an empty value of the Go runtime's environment is a missing secret",
    rule: "Go runtime: 10 a missing variable is an empty value, OK",
    operation: secret,
    expected: { value: null },
    createScript: () => ({ getSecret: () => ({ data: { S: "" } }) }),
  },
  {
    ...SECRET,
    id: "secret-failed",
    sentence: "another failure is not a missing secret",
    rule: "anything else",
    operation: secret,
    expected: { code: "internal" },
    createScript: () => ({
      getSecret: failCall(Code.Internal, "failed getting secret with key S: permission denied"),
    }),
  },
  {
    ...SECRET,
    id: "secret-parts",
    sentence: "a secret with several values has all of them",
    rule: "Go runtime: 10 multiValued maps a key to its leaves",
    operation: secret,
    expected: { value: { user: "u", password: "p" } },
    createScript: () => ({ getSecret: () => ({ data: { user: "u", password: "p" } }) }),
  },
  {
    ...SECRET,
    id: "secret-all",
    sentence: "all secrets come by name, each with its values",
    rule: "Go runtime: 10 bulk maps a name to its values",
    operation: { call: "secrets.getAll" },
    expected: { value: { S: { S: "1" }, "a:b": { "a:b": "2" } } },
    createScript: () => ({
      getBulkSecret: () => ({ data: { S: { secrets: { S: "1" } }, "a:b": { secrets: { "a:b": "2" } } } }),
    }),
  },
];
