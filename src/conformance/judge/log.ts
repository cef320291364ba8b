import { Code } from "@connectrpc/connect";
import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { utf8 } from "../../lib/utf8.js";
import { FIRST_OFFSET_TRAILER, LAST_OFFSET_TRAILER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import { equal, ok } from "../expect.js";
import { callsOf, firstRequests, type Scenario, type Script, serverError } from "./scenario.js";

const { consume, produce } = LogService.method;
const READ = { primitive: "log", rule: "Consume" } as const;
const APPEND = { primitive: "log", rule: "Produce" } as const;
const read = (count: number, from = "0") => ({ call: "log.read", from, count }) as const;
const record = (offset: bigint) => ({ offset, timestamp: 1_559_000_000_000n, value: utf8(`r${offset}`) });
const recordsOf = (...offsets: string[]) =>
  offsets.map((offset) => ({ offset, text: `r${offset}`, atMs: 1_559_000_000_000 }));

/** The n-th call of Consume answers with the n-th of `streams`, or the last one: its records, then its ending. */
function consumeStreams(...streams: [offsets: bigint[], ending: "stays" | "ends" | Code][]): Script {
  let turn = 0;
  return {
    async *consume(_, { signal }) {
      const [offsets, ending] = streams[Math.min(turn++, streams.length - 1)] ?? [[], "stays"];
      for (const offset of offsets) yield record(offset);
      if (ending === "stays") await sleep(30_000, signal);
      else if (ending !== "ends") throw serverError(ending, "the connection was lost");
    },
  };
}

const produceWithTrailers = (trailers: Record<string, string>): Script => ({
  async produce(records, { responseTrailer }) {
    for await (const _ of records);
    for (const [name, value] of Object.entries(trailers)) responseTrailer.set(name, value);
    return {};
  },
});

/** Possible answers to Produce and Consume. */
export const logScenarios: readonly Scenario[] = [
  {
    ...APPEND,
    id: "append-untold",
    sentence: "an append whose response has no offsets has happened",
    rule: "Atomix: 4.2 ProduceResponse is empty",
    operation: { call: "log.append", texts: ["a", "b"] },
    expected: { value: [null, null] },
    createScript: () => produceWithTrailers({}),
    checkCalls(calls) {
      const texts = (callsOf(calls, produce)[0]?.requests ?? []) as ReturnType<
        typeof firstRequests<typeof produce>
      >;
      equal(
        texts.map(({ value }) => value),
        [utf8("a"), utf8("b")],
        "the records, in their order",
      );
    },
  },
  {
    ...APPEND,
    id: "append-offsets",
    sentence: "offsets beyond 2^53 are returned to the last digit",
    operation: { call: "log.append", texts: ["a", "b"] },
    expected: { value: ["9007199254740993", "9007199254740994"] },
    createScript: () =>
      produceWithTrailers({
        [FIRST_OFFSET_TRAILER]: "9007199254740993",
        [LAST_OFFSET_TRAILER]: "9007199254740994",
      }),
  },
  {
    ...APPEND,
    id: "append-away",
    sentence: "an append whose answer was lost is not sent again by itself: it could be there twice",
    operation: { call: "log.append", texts: ["a"] },
    expected: { code: "unavailable" },
    createScript: () => ({
      async produce(records) {
        for await (const _ of records);
        throw serverError(Code.Unavailable, "the connection was lost");
      },
    }),
    checkCalls: (calls) => equal(callsOf(calls, produce).length, 1, "how often it was sent"),
  },
  {
    ...READ,
    id: "read-records",
    sentence: "records come with offset, time in milliseconds and value",
    operation: read(2),
    expected: { value: recordsOf("1", "2") },
    createScript: () => consumeStreams([[1n, 2n, 3n], "stays"]),
  },
  {
    ...READ,
    id: "read-large-offset",
    sentence: "an offset beyond 2^53 is requested and returned to the last digit",
    operation: read(1, "9007199254740993"),
    expected: { value: recordsOf("9007199254740993") },
    createScript: () => consumeStreams([[9_007_199_254_740_993n], "stays"]),
    checkCalls: (calls) =>
      equal(firstRequests(calls, consume)[0]?.offset, 9_007_199_254_740_993n, "the offset"),
  },
  {
    ...READ,
    id: "read-skips-forward",
    sentence: "where the first records are gone, it begins with the oldest that is there",
    rule: "Atomix: 4.3 below retention skips forward",
    operation: read(2, "5"),
    expected: { value: recordsOf("40", "41") },
    createScript: () => consumeStreams([[40n, 41n], "stays"]),
  },
  {
    ...READ,
    id: "read-too-early",
    sentence: "a record before the requested offset is not returned",
    rule: "Atomix: 4.3 on an empty log record 1 is delivered",
    operation: read(1, "5"),
    expected: { value: recordsOf("5") },
    createScript: () => consumeStreams([[1n, 5n], "stays"]),
  },
  {
    ...READ,
    id: "read-breaks",
    sentence:
      "a stream that is lost is opened again behind the last record: none is missing, none comes twice",
    operation: read(4),
    expected: { value: recordsOf("1", "2", "3", "4") },
    createScript: () => consumeStreams([[1n, 2n], Code.Unavailable], [[3n, 4n], "stays"]),
    checkCalls: (calls) =>
      equal(
        firstRequests(calls, consume).map(({ offset }) => offset),
        [0n, 3n],
        "the offsets that were asked for",
      ),
  },
  {
    ...READ,
    id: "read-ends",
    sentence: "a stream that ends, where it has to follow, is opened again behind the last record",
    operation: read(3),
    expected: { value: recordsOf("1", "2", "3") },
    createScript: () => consumeStreams([[1n, 2n], "ends"], [[3n], "stays"]),
    checkCalls: (calls) =>
      equal(
        firstRequests(calls, consume).map(({ offset }) => offset),
        [0n, 3n],
        "the offsets that were asked for",
      ),
  },
  {
    ...READ,
    id: "read-repeats",
    sentence: "records that come again after a lost stream are not returned again",
    operation: read(3),
    expected: { value: recordsOf("1", "2", "3") },
    createScript: () => consumeStreams([[1n, 2n], Code.Unavailable], [[2n, 3n], "stays"]),
  },
  {
    ...READ,
    id: "read-refused",
    sentence: "a refusal in the middle is a failure",
    rule: "the caller has no or a bad credential / may not do this",
    operation: read(3),
    expected: { code: "permission_denied" },
    createScript: () => consumeStreams([[1n], Code.PermissionDenied]),
  },
  {
    ...READ,
    id: "read-left",
    sentence: "leaving the loop ends the call",
    rule: "Atomix: 4.3 the server never completes the stream",
    operation: read(1),
    expected: { value: recordsOf("1") },
    createScript: () => consumeStreams([[1n], "stays"]),
    checkCalls: (calls) =>
      ok(
        callsOf(calls, consume).every(({ aborted }) => aborted),
        "every stream was canceled",
      ),
  },
];
