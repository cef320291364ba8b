import { Code } from "@connectrpc/connect";
import { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { equal } from "../expect.js";
import { failCall, firstRequests, type Scenario } from "./scenario.js";

/** Possible answers to ApplyConfiguration. */
export const lifecycleScenarios: readonly Scenario[] = [
  {
    id: "lifecycle-refused",
    primitive: "lifecycle",
    sentence: "a component that cannot change is a wrong argument",
    rule: "ApplyConfiguration",
    operation: { call: "lifecycle.apply", kind: "state", metadata: { a: "1" } },
    expected: { code: "invalid_argument" },
    createScript: () => ({
      applyConfiguration: failCall(Code.InvalidArgument, "component not found. kind: state , name: x"),
    }),
    checkCalls(calls) {
      const [request] = firstRequests(calls, Lifecycle.method.applyConfiguration);
      equal({ ...request?.componentConfig?.metadata }, { a: "1" }, "the metadata");
    },
  },
];
