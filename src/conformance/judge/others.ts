import { Code } from "@connectrpc/connect";
import { Lifecycle } from "../../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { equal } from "../expect.js";
import { callsOf, firstRequests, type Scenario, serverError } from "./scenario.js";

const { invokeBinding, invokeService } = Runtime.method;
const SECRET = { primitive: "secrets", rule: "secrets" } as const;
const BINDING = { primitive: "bindings", rule: "InvokeBinding" } as const;
const SERVICE = { primitive: "service", rule: "InvokeService" } as const;
const secret = { call: "secrets.get", name: "S" } as const;
const FETCH = { call: "service.fetch", path: "a/b", verb: "GET" } as const;
const failing = (code: Code, text: string) => () => {
  throw serverError(code, text);
};

/** Possible answers to calls of secrets, bindings, services, hello and lifecycle. */
export const otherScenarios: readonly Scenario[] = [
  {
    ...SECRET,
    id: "secret-missing",
    sentence: "a secret that is not found is a missing secret",
    rule: "no entry where one is required",
    operation: secret,
    expected: { value: null },
    createScript: () => ({ getSecret: failing(Code.NotFound, "secret S is not there") }),
  },
  {
    ...SECRET,
    id: "secret-missing-file",
    sentence: "a missing secret that the Go runtime calls internal is a missing secret",
    rule: "Go runtime: 10 a component's error is Internal",
    operation: secret,
    expected: { value: null },
    createScript: () => ({
      getSecret: failing(
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
      getSecret: failing(Code.Internal, "failed getting secret with key S: permission denied"),
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
    sentence: "a failure of the system outside is one, and is told in its words",
    rule: "Go runtime: 9 every failure is Internal",
    operation: { call: "bindings.invoke", operation: "get", text: "" },
    expected: { code: "internal", message: "error when invoke output binding b: received status code 503" },
    createScript: () => ({
      invokeBinding: failing(Code.Internal, "error when invoke output binding b: received status code 503"),
    }),
  },
  {
    ...BINDING,
    id: "binding-away",
    sentence: "a binding whose answer was lost is not invoked again by itself",
    operation: { call: "bindings.invoke", operation: "create", text: "" },
    expected: { code: "unavailable" },
    createScript: () => ({ invokeBinding: failing(Code.Unavailable, "the connection was lost") }),
    checkCalls: (calls) => equal(callsOf(calls, invokeBinding).length, 1, "how often it was invoked"),
  },
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
      invokeService: failing(Code.Unavailable, "http response code 404, body: not here"),
    }),
    checkCalls: (calls) => equal(callsOf(calls, invokeService).length, 1, "how often a POST was sent"),
  },
  {
    id: "hello-text",
    primitive: "hello",
    sentence: "a greeting of any text is told as it is",
    rule: "Go runtime: 1 the configured greeting, and the name",
    operation: { call: "hello.say", to: "eva" },
    expected: { value: "greeting, eva" },
    createScript: () => ({ sayHello: ({ name }) => ({ hello: `greeting, ${name}` }) }),
  },
  {
    id: "hello-unknown",
    primitive: "hello",
    sentence: "an unknown greeting, which the Go runtime calls unknown, is a wrong argument",
    rule: "Go runtime: 1 Unknown no instance found",
    operation: { call: "hello.say", to: "eva" },
    expected: { code: "invalid_argument" },
    createScript: () => ({ sayHello: failing(Code.Unknown, "no instance found") }),
  },
  {
    id: "lifecycle-refused",
    primitive: "lifecycle",
    sentence: "a component that cannot change is a wrong argument",
    rule: "ApplyConfiguration",
    operation: { call: "lifecycle.apply", kind: "state", metadata: { a: "1" } },
    expected: { code: "invalid_argument" },
    createScript: () => ({
      applyConfiguration: failing(Code.InvalidArgument, "component not found. kind: state , name: x"),
    }),
    checkCalls(calls) {
      const [request] = firstRequests(calls, Lifecycle.method.applyConfiguration);
      equal({ ...request?.componentConfig?.metadata }, { a: "1" }, "the metadata");
    },
  },
];
