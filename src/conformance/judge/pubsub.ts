import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { sleep } from "../../rpc/sleep.js";
import { equal, ok } from "../expect.js";
import { callsOf, firstRequests, type Scenario, type Script, serverError } from "./scenario.js";

const { publishEvent, subscribeTopicEvents } = Runtime.method;
const PUBLISH = { primitive: "pubsub", rule: "PublishEvent" } as const;
const STREAM = { primitive: "pubsub", rule: "SubscribeTopicEvents" } as const;
const consume = (...answers: ("ack" | "retry" | "drop")[]) =>
  ({ call: "pubsub.consume", topic: "t", answers }) as const;

type ResponseType =
  | { case: "initialResponse"; value: object }
  | { case: "eventMessage"; value: object }
  | { case: undefined };
const response = (type: ResponseType) => ({ subscribeTopicEventsResponseType: type }) as never;
const initialResponse = response({ case: "initialResponse", value: {} });
const event = (id: string, text = id, dataContentType = "text/plain") =>
  response({
    case: "eventMessage",
    value: {
      id,
      topic: "t",
      pubsubName: "p",
      source: "runtime",
      type: "x",
      specVersion: "1.0",
      data: utf8(text),
      dataContentType,
    },
  });

/** A stream that sends `messages` and stays open until the requests end. Then it fails as the Go runtime does. */
const topicStream = (...messages: never[]): Script => ({
  async *subscribeTopicEvents(requests) {
    yield* messages;
    for await (const _ of requests);
    throw serverError(Code.Unknown, "EOF");
  },
});

/** Possible answers to publishers and consumers. */
export const pubsubScenarios: readonly Scenario[] = [
  {
    ...PUBLISH,
    id: "publish-away",
    sentence: "an event whose answer was lost is not sent again by itself: it could be there twice",
    operation: { call: "pubsub.publish", topic: "t", text: "hi" },
    expected: { code: "unavailable" },
    createScript: () => ({
      publishEvent() {
        throw serverError(Code.Unavailable, "the connection was lost");
      },
    }),
    checkCalls: (calls) => equal(callsOf(calls, publishEvent).length, 1, "how often it was sent"),
  },
  {
    ...PUBLISH,
    id: "publish-json",
    sentence: "JSON goes as JSON, with its media type",
    operation: { call: "pubsub.publish", topic: "t", json: { n: 0.1234567890123 } },
    expected: { value: null },
    createScript: () => ({ publishEvent: () => ({}) }),
    checkCalls(calls) {
      const [request] = firstRequests(calls, publishEvent);
      equal(request?.dataContentType, "application/json", "the media type");
      equal(new TextDecoder().decode(request?.data), '{"n":0.1234567890123}', "the data");
    },
  },
  {
    ...PUBLISH,
    id: "publish-text",
    sentence: "text goes byte for byte as UTF-8, as text",
    operation: { call: "pubsub.publish", topic: "t", text: "ü日" },
    expected: { value: null },
    createScript: () => ({ publishEvent: () => ({}) }),
    checkCalls(calls) {
      const [request] = firstRequests(calls, publishEvent);
      ok(request?.dataContentType.startsWith("text/plain"), "the media type is text/plain");
      equal(request?.data, utf8("ü日"), "the data");
    },
  },
  {
    ...PUBLISH,
    id: "publish-refused",
    sentence: "an event that was not taken is a failure",
    rule: "Go runtime: 7.1 a component's failure is Internal",
    operation: { call: "pubsub.publish", topic: "t", text: "hi" },
    expected: { code: "internal" },
    createScript: () => ({
      publishEvent() {
        throw serverError(Code.Internal, "error when publish to topic t in pubsub p: connection refused");
      },
    }),
  },
  ...answerScenarios(),
  {
    ...STREAM,
    id: "consume-again",
    sentence: "an event that is delivered again is handled again, and answered again",
    rule: "delivery",
    operation: consume("retry", "ack"),
    expected: { value: ["e1", "e1"] },
    createScript: () => topicStream(initialResponse, event("e1"), event("e1")),
    checkCalls: (calls) => equal(sentAnswers(calls), ["e1 1", "e1 0"], "the answers"),
  },
  {
    ...STREAM,
    id: "consume-unknown-message",
    sentence: "a message of a kind that nobody knows is left alone, between events too",
    operation: consume("ack", "ack"),
    expected: { value: ["e1", "e2"] },
    createScript: () =>
      topicStream(
        response({ case: undefined }),
        initialResponse,
        event("e1"),
        response({ case: undefined }),
        event("e2"),
      ),
  },
  {
    ...STREAM,
    id: "consume-late",
    sentence: "an event that comes late is waited for",
    operation: consume("ack"),
    expected: { value: ["e1"] },
    createScript: () => ({
      async *subscribeTopicEvents(_, { signal }) {
        await sleep(300, signal);
        yield initialResponse;
        await sleep(300, signal);
        yield event("e1");
        await sleep(20_000, signal);
      },
    }),
  },
  {
    ...STREAM,
    id: "consume-breaks",
    sentence: "a stream that is lost is opened again, and its events go on",
    rule: "the engine is away",
    operation: consume("ack", "ack"),
    expected: { value: ["e1", "e2"] },
    createScript() {
      let streams = 0;
      return {
        async *subscribeTopicEvents(requests, context) {
          if (streams++ > 0) return yield* streamThenFail(requests, context, initialResponse, event("e2"));
          yield initialResponse;
          yield event("e1");
          for await (const { subscribeTopicEventsRequestType: type } of requests) {
            if (type.case === "eventProcessed") break;
          }
          throw serverError(Code.Unavailable, "the connection was lost");
        },
      };
    },
    checkCalls: (calls) => equal(callsOf(calls, subscribeTopicEvents).length, 2, "the streams"),
  },
  {
    ...STREAM,
    id: "consume-taken",
    sentence: "a refusal after the stream stood is a failure, and is not asked for again without end",
    rule: "Go runtime: 7.4 a second stream is Unknown already subscribed",
    operation: consume("ack"),
    expected: { code: "unknown" },
    createScript: () => ({
      async *subscribeTopicEvents() {
        yield initialResponse;
        throw serverError(Code.Unknown, "already subscribed to topic t in pubsub p");
      },
    }),
    checkCalls: (calls) => ok(callsOf(calls, subscribeTopicEvents).length < 10, "it was given up"),
  },
  ...contentScenarios(),
];

const streamThenFail = (...[requests, , ...messages]: [AsyncIterable<unknown>, unknown, ...never[]]) =>
  (async function* () {
    yield* messages;
    for await (const _ of requests);
    throw serverError(Code.Unknown, "EOF");
  })();

/** The TopicEventResponseStatus of each answer of an application. */
function answerScenarios(): Scenario[] {
  const statuses = { ack: 0, retry: 1, drop: 2 } as const;
  return (["ack", "retry", "drop"] as const).map((answer) => ({
    ...STREAM,
    id: `consume-${answer}`,
    sentence: `an event that was answered by ${answer} is answered so, before the client leaves`,
    operation: consume(answer),
    expected: { value: ["e1"] },
    createScript: () => topicStream(initialResponse, event("e1")),
    checkCalls: (calls) => equal(sentAnswers(calls), [`e1 ${statuses[answer]}`], "the answers"),
  }));
}

/** Contents of events, and the values that the client must return for them. */
function contentScenarios(): Scenario[] {
  const all: [string, string, string, Scenario["expected"]["value"] & {}][] = [
    ["json", '{"a":[1,"ü"]}', "application/json", { a: [1, "ü"] }],
    ["json-parameters", '{"a":1}', "Application/JSON; charset=utf-8", { a: 1 }],
    ["json-suffix", '{"a":1}', "application/vnd.x+json", { a: 1 }],
    ["json-quoted", '"not {json"', "application/json", "not {json"],
    ["text", "1", "text/plain", "1"],
    ["empty", "", "application/x-unknown", ""],
  ];
  return all.map(([name, text, type, value]) => ({
    ...STREAM,
    id: `event-${name}`,
    sentence: `${text === "" ? "no data" : text} of the type ${type} arrives as what it is`,
    rule: "Go runtime: 7.3 what arrives of each content type",
    operation: { call: "pubsub.consumeData", topic: "t", count: 1 },
    expected: { value: [value] },
    createScript: () => topicStream(initialResponse, event("e1", text, type)),
  }));
}

/** The answers that the client sent, each as "id status". */
function sentAnswers(calls: Parameters<NonNullable<Scenario["checkCalls"]>>[0]): string[] {
  const all = callsOf(calls, subscribeTopicEvents).flatMap(({ requests }) => requests) as ReturnType<
    typeof firstRequests<typeof subscribeTopicEvents>
  >;
  return all.flatMap(({ subscribeTopicEventsRequestType: type }) =>
    type.case === "eventProcessed" ? [`${type.value.id} ${type.value.status?.status ?? "none"}`] : [],
  );
}
