import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { equal } from "../expect.js";
import { callsOf, firstRequests, type Scenario, serverError } from "./scenario.js";

const { saveState, executeStateTransaction } = Runtime.method;

/** Possible answers to transactions. */
export const transactionScenarios: readonly Scenario[] = [
  {
    id: "state-transaction-conflict",
    primitive: "state",
    sentence: "a conflict in a transaction, which the Go runtime calls internal, is a conflict",
    rule: "Go runtime: 6.5 any failure, an etag mismatch too, is Internal",
    operation: { call: "state.transaction", steps: [{ key: "a", text: "1", etag: "4" }, { key: "b" }] },
    expected: { code: "aborted" },
    createScript: () => ({
      executeStateTransaction() {
        throw serverError(
          Code.Internal,
          "error while executing state transaction: possible etag mismatch. error from store",
        );
      },
    }),
  },
  {
    id: "state-transaction-memory-conflict",
    primitive: "state",
    sentence: "a conflict in the words of the Go runtime's in-memory store is a conflict",
    rule: "Go runtime: 6.6 its transactions compare stored etags",
    operation: { call: "state.transaction", steps: [{ key: "a", text: "1", etag: "4" }] },
    expected: { code: "aborted" },
    createScript: () => ({
      executeStateTransaction() {
        throw serverError(
          Code.Internal,
          "error while executing state transaction: etag does not match for key a",
        );
      },
    }),
  },
  {
    id: "state-transaction-failed",
    primitive: "state",
    sentence: "another failure of a transaction is none",
    rule: "anything else",
    operation: { call: "state.transaction", steps: [{ key: "a", text: "1" }] },
    expected: { code: "internal" },
    createScript: () => ({
      executeStateTransaction() {
        throw serverError(Code.Internal, "error while executing state transaction: failed to parse ttl");
      },
    }),
  },
  {
    id: "state-transaction-delete",
    primitive: "state",
    sentence: 'a deletion in a transaction without a condition carries the etag "0"',
    rule: "etag",
    operation: { call: "state.transaction", steps: [{ key: "a", text: "1" }, { key: "b" }] },
    expected: { value: null },
    createScript: () => ({
      executeStateTransaction({ operations }) {
        const removal = operations.find(({ operationType }) => operationType === "delete");
        if (removal?.request?.etag?.value === "0") return {};
        throw serverError(Code.Internal, "error while executing state transaction: possible etag mismatch");
      },
    }),
    checkCalls(calls) {
      const [request] = firstRequests(calls, executeStateTransaction);
      const steps = request?.operations.map(
        ({ operationType, request }) => `${operationType} ${request?.key}`,
      );
      equal(steps, ["upsert a", "delete b"], "the operations, by their exact names and in their order");
    },
  },
  {
    id: "state-transaction-unsupported",
    primitive: "state",
    sentence: "a store without transactions says so, and the client does not do the writes one by one",
    rule: "Go runtime: 6.5 a store that is not transactional is Unimplemented",
    operation: {
      call: "state.transaction",
      steps: [
        { key: "a", text: "1" },
        { key: "b", text: "2" },
      ],
    },
    expected: { code: "unimplemented" },
    createScript: () => ({
      executeStateTransaction() {
        throw serverError(Code.Unimplemented, "state store s doesn't support transaction");
      },
      saveState: () => ({}),
    }),
    checkCalls: (calls) => equal(callsOf(calls, saveState).length, 0, "single writes"),
  },
];
