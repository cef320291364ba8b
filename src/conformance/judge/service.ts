import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { equal } from "../expect.js";
import { callsOf, failCall, firstRequests, type Scenario } from "./scenario.js";

const { invokeService } = Runtime.method;
const SERVICE = { primitive: "service", rule: "InvokeService" } as const;
const FETCH = { call: "service.fetch", path: "a/b", verb: "GET" } as const;

/** Possible answers to InvokeService. */
export const serviceScenarios: readonly Scenario[] = [
  {
    ...SERVICE,
    id: "service-answer-go",
    sentence: "an answer without a type of its data and without a status is one of 200",
    rule: "Go runtime: 2 an Any with an empty type_url",
    operation: FETCH,
    expected: { value: { status: 200, text: "hi", contentType: "text/x-mine" } },
    createScript: () => ({
      invokeService: () => ({ data: { typeUrl: "", value: utf8("hi") }, contentType: "text/x-mine" }),
    }),
    checkCalls(calls) {
      const [request] = firstRequests(calls, invokeService);
      equal(request?.message?.method, "a/b", "the method");
      equal(request?.message?.httpExtension?.verb, 1, "the verb: NONE would become a method of that name");
    },
  },
  {
    ...SERVICE,
    id: "service-empty",
    sentence: "an answer without data is an empty one",
    operation: FETCH,
    expected: { value: { status: 200, text: "", contentType: null } },
    createScript: () => ({ invokeService: () => ({}) }),
  },
  {
    ...SERVICE,
    id: "service-status-go",
    sentence: "a status that the Go runtime makes an error of is an error",
    rule: "Go runtime: 2 a status other than 200 is Unavailable",
    operation: { ...FETCH, verb: "POST", text: "x" },
    expected: { code: "unavailable" },
    createScript: () => ({
      invokeService: failCall(Code.Unavailable, "http response code 404, body: not here"),
    }),
    checkCalls: (calls) => equal(callsOf(calls, invokeService).length, 1, "how often a POST was sent"),
  },
];
