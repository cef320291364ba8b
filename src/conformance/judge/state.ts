import { Code } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { GetStateResponseSchema, Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { sleep } from "../../rpc/sleep.js";
import { equal, ok } from "../expect.js";
import {
  callsOf,
  firstRequests,
  respondInOrder,
  type Scenario,
  serverError,
  withUnknownFields,
} from "./scenario.js";

const { getState, saveState, deleteState } = Runtime.method;
const GET = { call: "state.get", key: "k" } as const;
const AWAY = () => serverError(Code.Unavailable, "the engine is away");
const entry = { data: utf8("v"), etag: "7" };
const read = { text: "v", etag: "7" };

/** Possible answers to reads and writes of single entries. */
export const stateScenarios: readonly Scenario[] = [
  {
    id: "state-missing",
    primitive: "state",
    sentence: "no data and no etag is a missing key",
    rule: "GetState of a missing key",
    operation: GET,
    expected: { value: null },
    createScript: () => ({ getState: () => ({}) }),
  },
  {
    id: "state-empty",
    primitive: "state",
    sentence: "no data with an etag is a stored empty value",
    rule: "GetState of a missing key",
    operation: GET,
    expected: { value: { text: "", etag: "3" } },
    createScript: () => ({ getState: () => ({ etag: "3" }) }),
  },
  {
    id: "state-without-etags",
    primitive: "state",
    sentence: "data without an etag is an entry, of a store that has none",
    rule: "Go runtime: 6.6 its in-memory store gives the etag that was sent",
    operation: GET,
    expected: { value: { text: "v", etag: "" } },
    createScript: () => ({ getState: () => ({ data: utf8("v") }) }),
  },
  {
    id: "state-etag-opaque",
    primitive: "state",
    sentence: "an etag of any form is returned unchanged",
    rule: "etag",
    operation: GET,
    expected: { value: { text: "v", etag: 'W/"ä 007"' } },
    createScript: () => ({ getState: () => ({ data: utf8("v"), etag: 'W/"ä 007"' }) }),
  },
  {
    id: "state-late",
    primitive: "state",
    sentence: "an answer that takes a while is waited for",
    rule: "GetState of a missing key",
    operation: GET,
    expected: { value: read },
    createScript: () => ({
      async getState(_, { signal }) {
        await sleep(400, signal);
        return entry;
      },
    }),
  },
  {
    id: "state-never",
    primitive: "state",
    sentence: "an answer that does not come is given up at the deadline",
    rule: "GetState of a missing key",
    operation: { ...GET, timeoutMs: 1000 },
    expected: { code: "deadline_exceeded" },
    createScript: () => ({
      async getState(_, { signal }) {
        await sleep(3000, signal);
        return entry;
      },
    }),
    checkCalls: (calls) => ok(callsOf(calls, getState)[0]?.aborted, "the call is over for the server too"),
  },
  {
    id: "state-unknown-fields",
    primitive: "state",
    sentence: "fields of a later version of the API change nothing",
    rule: "GetState of a missing key",
    operation: GET,
    expected: { value: read },
    createScript: () => ({ getState: () => withUnknownFields(GetStateResponseSchema, entry) }),
  },
  {
    id: "state-unknown-metadata",
    primitive: "state",
    sentence: "metadata of names that nobody knows changes nothing",
    rule: "ttlInSeconds",
    operation: GET,
    expected: { value: read },
    createScript: () => ({
      getState: () => ({ ...entry, metadata: { "": "x", ttlRemainingMs: "", zone: "eu" } }),
    }),
  },
  {
    id: "state-retry-info",
    primitive: "state",
    sentence: "a read is tried again, but not before the server asks for it",
    rule: "the engine is away",
    operation: GET,
    expected: { value: read },
    createScript: () => ({
      getState: respondInOrder(
        serverError(Code.Unavailable, "the engine is away", [
          { desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 1_000_000 } } },
        ]),
        entry,
      ),
    }),
    checkCalls(calls) {
      const [first, second, ...more] = callsOf(calls, getState).map(({ atMs }) => atMs);
      ok(more.length === 0, "it was tried twice");
      // The clocks of two processes may differ a little.
      ok((second ?? 0) - (first ?? 0) >= 990, "the second try came a second after the first, or later");
    },
  },
  {
    id: "state-conflict",
    primitive: "state",
    sentence: "a conflict in the Go runtime's words, without details, is a conflict",
    rule: "etag, version or fence does not match",
    operation: { call: "state.set", key: "k", text: "v", etag: "6" },
    expected: { code: "aborted" },
    createScript: () => ({
      saveState() {
        throw serverError(
          Code.Aborted,
          "failed saving in state store s: possible etag mismatch. error from state store: ERR",
        );
      },
    }),
    checkCalls: (calls) =>
      equal(firstRequests(calls, saveState)[0]?.states[0]?.etag?.value, "6", "the etag on the wire"),
  },
  {
    id: "state-conflict-details",
    primitive: "state",
    sentence: "a conflict with details that nobody knows is a conflict",
    rule: "etag, version or fence does not match",
    operation: { call: "state.set", key: "k", text: "v", etag: "6" },
    expected: { code: "aborted" },
    createScript: () => ({
      saveState() {
        const facts = {
          reason: "ETAG",
          domain: "elsewhere",
          metadata: { key: "k", etag: "9", colour: "red" },
        };
        throw serverError(Code.Aborted, "someone was faster", [
          { desc: ErrorInfoSchema, value: facts },
          { desc: GetStateResponseSchema, value: entry },
        ]);
      },
    }),
  },
  {
    id: "state-delete-conflict",
    primitive: "state",
    sentence: "a conflict of a deletion is a conflict",
    rule: "etag, version or fence does not match",
    operation: { call: "state.delete", key: "k", etag: "6" },
    expected: { code: "aborted" },
    createScript: () => ({
      deleteState() {
        throw serverError(Code.Aborted, "failed deleting state with key k: possible etag mismatch");
      },
    }),
    checkCalls: (calls) =>
      equal(firstRequests(calls, deleteState)[0]?.etag?.value, "6", "the etag on the wire"),
  },
  {
    id: "state-delete-no-etag",
    primitive: "state",
    sentence: 'a deletion without a condition carries the etag "0", which the Go runtime takes for none',
    rule: "etag",
    operation: { call: "state.delete", key: "k" },
    expected: { value: null },
    createScript: () => ({
      deleteState({ etag }) {
        if (etag?.value !== "0")
          throw serverError(Code.Aborted, "failed deleting state with key k: possible etag mismatch");
        return {};
      },
    }),
  },
  {
    id: "state-save-lost",
    primitive: "state",
    sentence: "a conflict that the client's own lost attempt may have caused is not reported as another's",
    rule: "the engine is away",
    operation: { call: "state.set", key: "k", text: "v", etag: "6" },
    expected: { code: "unavailable" },
    createScript: () => ({
      saveState: respondInOrder<object>(AWAY(), serverError(Code.Aborted, "possible etag mismatch")),
    }),
  },
  {
    id: "state-update",
    primitive: "state",
    sentence: "an update is retried after a conflict, with the new etag and the new value",
    rule: "etag given",
    operation: { call: "state.update", key: "k", add: "!" },
    expected: { value: null },
    createScript: () => ({
      getState: respondInOrder({ data: utf8("a"), etag: "1" }, { data: utf8("b"), etag: "2" }),
      saveState: respondInOrder<object>(serverError(Code.Aborted, "possible etag mismatch"), {}),
    }),
    checkCalls(calls) {
      const saved = firstRequests(calls, saveState).map(({ states: [state] }) => [
        state?.etag?.value,
        state?.value,
      ]);
      equal(
        saved,
        [
          ["1", utf8("a!")],
          ["2", utf8("b!")],
        ],
        "the values written, and their etags",
      );
    },
  },
];
