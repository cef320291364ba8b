import { Code } from "@connectrpc/connect";
import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { sleep } from "../../rpc/sleep.js";
import { ok } from "../expect.js";
import { callsOf, type Scenario, type Script, serverError } from "./scenario.js";

const { subscribeConfiguration } = Runtime.method;
const GET = { primitive: "configuration", rule: "configuration identity" } as const;
const FOLLOW = { primitive: "configuration", rule: "SubscribeConfiguration" } as const;
const both = { call: "configuration.get", keys: ["a", "b"] } as const;
const item = (key: string, content: string) => ({ key, content });
const a = (content: string) => ({ items: [item("a", content)] });
/** Longer than a scenario: a client that polls reads only once. */
const RARELY_MS = 60_000;
const follow = (until: Record<string, string>, pollMs = RARELY_MS) =>
  ({ call: "configuration.follow", keys: ["a", "b"], until, pollMs, forMs: 5000 }) as const;

/** A read returns `first`; a subscription sends `pushes`, 100 ms apart, and stays open. */
function pushValues(first: object, ...pushes: object[]): Script {
  return {
    getConfiguration: () => first,
    async *subscribeConfiguration(_, { signal }) {
      for (const push of pushes) {
        await sleep(100, signal);
        yield push;
      }
      await sleep(30_000, signal);
    },
  };
}

/** Possible answers to reads and subscriptions of configuration. */
export const configurationScenarios: readonly Scenario[] = [
  {
    ...GET,
    id: "items-missing",
    sentence: "items that are not there are left out",
    rule: "Go runtime: 3 Get gives only found keys",
    operation: both,
    expected: { value: { b: "2" } },
    createScript: () => ({ getConfiguration: () => ({ items: [item("b", "2")] }) }),
  },
  {
    ...GET,
    id: "items-empty",
    sentence: "an item with empty content has no value, as empty content deletes",
    rule: "Go runtime: 3 Save stores empty content",
    operation: both,
    expected: { value: { b: "2" } },
    createScript: () => ({ getConfiguration: () => ({ items: [item("a", ""), item("b", "2")] }) }),
  },
  {
    ...GET,
    id: "items-unknown-store",
    sentence: "an unknown store, which the Go runtime calls unknown, is a wrong argument",
    rule: "Go runtime: 3 an unknown store is Unknown",
    operation: both,
    expected: { code: "invalid_argument" },
    createScript: () => ({
      getConfiguration() {
        throw serverError(Code.Unknown, "configure store [x] don't support now");
      },
    }),
  },
  {
    ...FOLLOW,
    id: "follow-pushed",
    sentence: "values that a stream tells at its begin, one by one, are taken",
    rule: "Go runtime: 3.1 in-memory pushes each existing key",
    operation: follow({ a: "1", b: "2" }),
    expected: { value: { a: "1", b: "2" } },
    createScript: () => pushValues({ items: [] }, a("1"), { items: [item("b", "2")] }),
  },
  {
    ...FOLLOW,
    id: "follow-silent-at-first",
    sentence: "values that a stream does not tell at its begin are read",
    rule: "Go runtime: 3.1 etcd pushes nothing initially",
    operation: follow({ a: "1", b: "2" }),
    expected: { value: { a: "1", b: "2" } },
    createScript: () => pushValues({ items: [item("a", "1"), item("b", "2")] }),
  },
  {
    ...FOLLOW,
    id: "follow-changes",
    sentence: "a change on a stream without initial values is applied, and all other keys keep theirs",
    rule: "Go runtime: 3.1 etcd pushes nothing initially",
    operation: follow({ a: "3", b: "2" }),
    expected: { value: { a: "3", b: "2" } },
    createScript: () => pushValues({ items: [item("a", "1"), item("b", "2")] }, a("3")),
  },
  {
    ...FOLLOW,
    id: "follow-no-items",
    sentence: "an answer without items changes nothing and breaks nothing",
    rule: "Go runtime: 3.1 etcd sends responses with zero items",
    operation: follow({ a: "2", b: "2" }),
    expected: { value: { a: "2", b: "2" } },
    createScript: () => pushValues({ items: [item("a", "1"), item("b", "2")] }, {}, { items: [] }, a("2")),
  },
  {
    ...FOLLOW,
    id: "follow-several",
    sentence: "all items of an answer are taken, of one key the last",
    operation: follow({ a: "4", b: "5" }),
    expected: { value: { a: "4", b: "5" } },
    createScript: () => pushValues({}, { items: [item("a", "3"), item("b", "5"), item("a", "4")] }),
  },
  {
    ...FOLLOW,
    id: "follow-deleted-go",
    sentence: "an item with empty content is a deletion, also without a mark",
    rule: "Go runtime: 3.1 etcd and apollo send content empty",
    operation: follow({ b: "2" }),
    expected: { value: { b: "2" } },
    createScript: () => pushValues({ items: [item("a", "1"), item("b", "2")] }, a("")),
  },
  {
    ...FOLLOW,
    id: "follow-deleted",
    sentence: "a deletion with its mark is a deletion",
    isFairlead: true,
    operation: follow({ b: "2" }),
    expected: { value: { b: "2" } },
    createScript: () =>
      pushValues(
        { items: [item("a", "1"), item("b", "2")] },
        { items: [item("a", "1"), item("b", "2")] },
        { items: [{ ...item("a", ""), metadata: { deleted: "true" } }] },
      ),
  },
  {
    ...FOLLOW,
    id: "follow-other-keys",
    sentence: "an item that was not asked for is left alone",
    rule: "Go runtime: 3.1 etcd watches the prefix of the app",
    operation: follow({ a: "2" }),
    expected: { value: { a: "2" } },
    createScript: () => pushValues({ items: [item("a", "1")] }, { items: [item("ab", "9")] }, a("2")),
  },
  {
    ...FOLLOW,
    id: "follow-untold",
    sentence: "a deletion that no stream tells is found by reading now and then",
    rule: "Go runtime: 3 in-memory deletes without a notification",
    operation: follow({ b: "2" }, 100),
    expected: { value: { b: "2" } },
    createScript() {
      let readings = 0;
      return {
        ...pushValues({}),
        getConfiguration: () => ({
          items: readings++ < 2 ? [item("a", "1"), item("b", "2")] : [item("b", "2")],
        }),
      };
    },
  },
  {
    ...FOLLOW,
    id: "follow-half-open",
    sentence: "the requests of a subscription stay open: with their end the Go runtime ends it",
    rule: "Go runtime: 3.1 half-close is Unknown EOF",
    operation: follow({ a: "2" }),
    expected: { value: { a: "2" } },
    createScript: () => ({
      getConfiguration: () => a("1"),
      async *subscribeConfiguration(requests, { signal }) {
        let ended = false;
        void readToEnd(requests).then(() => (ended = true));
        await sleep(250, signal);
        if (ended) throw serverError(Code.Unknown, "EOF");
        yield a("2");
        await sleep(30_000, signal);
      },
    }),
    checkCalls(calls) {
      const [first] = callsOf(calls, subscribeConfiguration);
      ok(first && !first.halfClosed, "the first subscription was not half closed");
    },
  },
  ...streamEndScenarios(),
  {
    ...FOLLOW,
    id: "follow-left",
    sentence: "a subscription that is not wanted any more is let go of",
    operation: follow({ a: "1" }),
    expected: { value: { a: "1" } },
    createScript: () => pushValues(a("1"), a("1")),
    checkCalls(calls) {
      const all = callsOf(calls, subscribeConfiguration);
      ok(
        all.length > 0 && all.every(({ aborted, halfClosed }) => aborted || halfClosed),
        "no stream is left open",
      );
    },
  },
];

/** Streams that the server ends and that the client must reopen. */
function streamEndScenarios(): Scenario[] {
  const endings: [string, Code | undefined, Scenario["rule"]][] = [
    ["ok", undefined, "SubscribeConfiguration"],
    ["unavailable", Code.Unavailable, "the engine is away"],
    ["eof", Code.Unknown, "Go runtime: 3.1 Unknown EOF ends all subscriptions"],
    ["internal", Code.Internal, "anything else"],
  ];
  return endings.map(([name, code, rule]) => ({
    ...FOLLOW,
    id: `follow-ends-${name}`,
    sentence: `a stream that ends by itself (${name}) is opened again, and what it tells then is taken`,
    rule,
    operation: follow({ a: "2" }),
    expected: { value: { a: "2" } },
    createScript() {
      let streams = 0;
      return {
        getConfiguration: () => a("1"),
        async *subscribeConfiguration(_, { signal }) {
          if (streams++ === 0) {
            await sleep(50, signal);
            if (code === undefined) return;
            throw serverError(code, "EOF");
          }
          await sleep(50, signal);
          yield a("2");
          await sleep(30_000, signal);
        },
      };
    },
  }));
}

async function readToEnd(requests: AsyncIterable<unknown>): Promise<void> {
  try {
    for await (const _ of requests);
  } catch {
    // The call was cancelled, not half-closed: the response stream handles that.
    await new Promise(() => {});
  }
}
