import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { equal } from "../expect.js";
import { callsOf, failCall, firstRequests, type Scenario } from "./scenario.js";

const { invokeBinding } = Runtime.method;
const BINDING = { primitive: "bindings", rule: "InvokeBinding" } as const;

/** Possible answers to InvokeBinding. */
export const bindingScenarios: readonly Scenario[] = [
  {
    ...BINDING,
    id: "binding-answer",
    sentence: "what a binding answered comes with its metadata",
    operation: { call: "bindings.invoke", operation: "get", text: "in" },
    expected: { value: { text: "out", metadata: { statusCode: "200", "Content-Type": "text/plain" } } },
    createScript: () => ({
      invokeBinding: () => ({
        data: utf8("out"),
        metadata: { statusCode: "200", "Content-Type": "text/plain" },
      }),
    }),
    checkCalls: (calls) =>
      equal(fromUtf8(firstRequests(calls, invokeBinding)[0]?.data ?? utf8("")), "in", "the data"),
  },
  {
    ...BINDING,
    id: "binding-failed",
    sentence: "a failure of the external system is an error with its message",
    rule: "Go runtime: 9 every failure is Internal",
    operation: { call: "bindings.invoke", operation: "get", text: "" },
    expected: { code: "internal", message: "error when invoke output binding b: received status code 503" },
    createScript: () => ({
      invokeBinding: failCall(Code.Internal, "error when invoke output binding b: received status code 503"),
    }),
  },
  {
    ...BINDING,
    id: "binding-away",
    sentence: "a binding whose answer was lost is not invoked again by itself",
    operation: { call: "bindings.invoke", operation: "create", text: "" },
    expected: { code: "unavailable" },
    createScript: () => ({ invokeBinding: failCall(Code.Unavailable, "the connection was lost") }),
    checkCalls: (calls) => equal(callsOf(calls, invokeBinding).length, 1, "how often it was invoked"),
  },
];
