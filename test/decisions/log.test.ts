import assert from "node:assert/strict";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Queue } from "../../src/internal/queue.js";
import { fromUtf8, utf8 } from "../../src/internal/utf8.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openHere } from "../doors.js";
import { failure } from "./failure.js";

async function open(options?: ServerOptions) {
  const at = await openHere(options);
  return { ...calls(at.transport), server: at.server, [Symbol.asyncDispose]: at[Symbol.asyncDispose] };
}

type Headers = Record<string, string>;

function calls(transport: Transport) {
  const client = createClient(LogService, transport);
  /** Appends, and returns the first and the last offset as the trailers tell them. */
  const produce = async (values: Iterable<string> | AsyncIterable<string>, headers: Headers = {}) => {
    let trailer = new globalThis.Headers();
    const requests = async function* () {
      for await (const value of values) yield { value: utf8(value) };
    };
    const onTrailer = (told: globalThis.Headers) => {
      trailer = told;
    };
    await client.produce(requests(), { headers, onTrailer });
    return [trailer.get("fairlead-first-offset"), trailer.get("fairlead-last-offset")];
  };
  /** Records as "offset value": `count` of them, or all to the end. */
  const consume = async (offset: bigint, headers: Headers = {}, count = Number.POSITIVE_INFINITY) => {
    const leave = new AbortController();
    const follow: Headers = count === Number.POSITIVE_INFINITY ? { "fairlead-follow": "false" } : {};
    const records: string[] = [];
    const call = { headers: { ...follow, ...headers }, signal: leave.signal };
    for await (const { offset: at, value } of client.consume({ offset }, call)) {
      if (records.push(`${at} ${fromUtf8(value)}`) === count) break;
    }
    leave.abort();
    return records;
  };
  return { client, produce, consume };
}

afterEach(() => void vi.useRealTimers());

test("log name: request header fairlead-log, default `default`; one service serves many logs", async () => {
  await using at = await open();
  await at.produce(["in default"]);
  await at.produce(["in a"], { "fairlead-log": "a" });
  await at.produce(["encoded"], { "fairlead-log": encodeURIComponent("ж/1") });
  assert.deepEqual(await at.consume(0n), ["1 in default"]);
  assert.deepEqual(await at.consume(0n, { "fairlead-log": "default" }), ["1 in default"]);
  assert.deepEqual(await at.consume(0n, { "fairlead-log": "a" }), ["1 in a"]);
  assert.deepEqual(await at.consume(0n, { "fairlead-log": "%d0%b6%2F1" }), ["1 encoded"]);
});

test("a required field is empty, an enum number or a number is out of range, a name is malformed: also in the headers of a log", async () => {
  await using at = await open();
  const names = ["", "%00", "a%0Ab", "%zz", "a".repeat(256)];
  const wrong: Headers[] = [
    ...names.map((name) => ({ "fairlead-log": name })),
    ...["yes", "FALSE", ""].map((follow) => ({ "fairlead-follow": follow })),
    ...["soon", "-1", "1.5", "", "1e3", "9".repeat(16)].map((time) => ({ "fairlead-from-time": time })),
  ];
  for (const headers of wrong) {
    const [field] = Object.keys(headers);
    const error = await failure(at.consume(0n, headers));
    assert.equal(error.code, Code.InvalidArgument, JSON.stringify(headers));
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, field);
  }
  for (const name of names) {
    const error = await failure(at.produce(["x"], { "fairlead-log": name }));
    assert.equal(error.code, Code.InvalidArgument, name);
  }
});

test("a limit is hit: the number of logs that clients make is one, and reading makes none", async () => {
  const engine = memoryEngine();
  const config = { limits: { logs: 2, valueBytes: 10 }, logs: { mine: {} } };
  await using at = await open({ engine, config });
  const limitOf = async (call: Promise<unknown>) => {
    const error = await failure(call);
    assert.equal(error.code, Code.ResourceExhausted);
    return error.findDetails(ErrorInfoSchema)[0]?.metadata;
  };
  for (let i = 0; i < 10; i++) {
    const reading = failure(
      at.client
        .consume({}, { headers: { "fairlead-log": `read ${i}` }, timeoutMs: 5 })
        [Symbol.asyncIterator]()
        .next(),
    );
    assert.deepEqual(await at.consume(0n, { "fairlead-log": `read ${i}` }), []);
    assert.equal((await reading).code, Code.DeadlineExceeded);
  }
  const racing = ["a", "b", "c", "d"].map((log) => at.produce(["x"], { "fairlead-log": log }));
  const settled = await Promise.allSettled(racing);
  assert.equal(settled.filter(({ status }) => status === "fulfilled").length, 2);
  assert.deepEqual(await limitOf(at.produce(["x"], { "fairlead-log": "e" })), { limit: "logs", most: "2" });
  assert.deepEqual(await at.consume(0n, { "fairlead-log": "e" }), []);
  // What the configuration names is no client's doing, and neither is `default`.
  assert.deepEqual(await at.produce(["x"], { "fairlead-log": "mine" }), ["1", "1"]);
  assert.deepEqual(await at.produce(["x"]), ["1", "1"]);
  // The engine remembers them for every server on it.
  await using other = await open({ engine, config });
  await limitOf(other.produce(["x"], { "fairlead-log": "f" }));
  // A record that is too large takes its call with it.
  const large = await limitOf(at.produce(["fits", "is too large"]));
  assert.deepEqual(large, { limit: "valueBytes", most: "10" });
  assert.deepEqual(await at.consume(0n), ["1 x"]);
});

test("Produce: one ProduceResponse after every append is durable, with the first and last offset in the trailers", async () => {
  await using at = await open();
  assert.deepEqual(await at.produce(["a", "b", "c"]), ["1", "3"]);
  assert.deepEqual(await at.produce(["d"]), ["4", "4"]);
  assert.deepEqual(await at.consume(0n), ["1 a", "2 b", "3 c", "4 d"]);
  assert.deepEqual(await at.produce([]), [null, null]);
  const many = Array.from({ length: 1100 }, (_, i) => String(i));
  assert.deepEqual(await at.produce(many), ["5", "1104"]);
  assert.equal((await at.consume(5n)).length, 1100);
});

test("Produce: what fits a batch is one append; more is several, in bounded memory", async () => {
  const engine = memoryEngine();
  const sizes: number[] = [];
  const { append } = engine.logs;
  engine.logs.append = (log, values) => {
    sizes.push(values.length);
    return append.call(engine.logs, log, values);
  };
  await using at = await open({ engine });
  await at.produce(Array.from({ length: 512 }, () => "x"));
  await at.produce(Array.from({ length: 1100 }, () => "x"));
  await at.produce(Array.from({ length: 5 }, () => "x".repeat(400 * 1024)));
  await at.produce(["x".repeat(3 * 1024 ** 2), "x"]);
  assert.deepEqual(sizes, [512, 512, 512, 76, 2, 2, 1, 1, 1]);
});

test("Produce: a stream that stays open does not keep its records to itself", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  await using at = await open();
  const values = new Queue<string>();
  const producing = at.produce(values);
  values.push("a");
  values.push("b");
  await vi.advanceTimersByTimeAsync(999);
  assert.deepEqual(await at.consume(0n), []);
  await vi.advanceTimersByTimeAsync(1);
  // A disk takes its time.
  await vi.waitFor(async () => assert.deepEqual(await at.consume(0n), ["1 a", "2 b"]));
  values.push("c");
  values.end();
  assert.deepEqual(await producing, ["1", "3"]);
});

test("Produce: a call that is given up writes nothing of what it did not append yet", async () => {
  await using at = await open();
  const leave = new AbortController();
  const values = new Queue<{ value: Uint8Array }>();
  const producing = failure(at.client.produce(values, { signal: leave.signal }));
  values.push({ value: utf8("a") });
  await new Promise((resolve) => setTimeout(resolve, 5));
  leave.abort();
  values.end();
  assert.equal((await producing).code, Code.Canceled);
  const late = failure(at.client.produce(new Queue<{ value: Uint8Array }>(), { timeoutMs: 10 }));
  assert.equal((await late).code, Code.DeadlineExceeded);
  assert.deepEqual(await at.consume(0n), []);
});

test("Consume: offsets from 1, inclusive; 0 = earliest retained", async () => {
  await using at = await open();
  await at.produce(["a", "b", "c"]);
  assert.deepEqual(await at.consume(0n), ["1 a", "2 b", "3 c"]);
  assert.deepEqual(await at.consume(1n), ["1 a", "2 b", "3 c"]);
  assert.deepEqual(await at.consume(3n), ["3 c"]);
  assert.deepEqual(await at.consume(4n), []);
});

test("Consume: follows for ever, from past the end too, and each call on its own", async () => {
  await using at = await open();
  const waiting = [at.consume(0n, {}, 4), at.consume(3n, {}, 2), at.consume(0n, {}, 4)];
  await at.produce(["a", "b"]);
  await at.produce(["c", "d"]);
  assert.deepEqual(await Promise.all(waiting), [
    ["1 a", "2 b", "3 c", "4 d"],
    ["3 c", "4 d"],
    ["1 a", "2 b", "3 c", "4 d"],
  ]);
});

test("Consume: a follower of a log that nobody has written to is told of its first record", async () => {
  await using at = await open();
  const waiting = at.consume(0n, { "fairlead-log": "a" }, 1);
  await at.produce(["x"], { "fairlead-log": "ab" });
  await at.produce(["y"], { "fairlead-log": "a" });
  assert.deepEqual(await waiting, ["1 y"]);
});

test("Consume: below retention skips forward", async () => {
  await using at = await open({ config: { logs: { default: { maxRecords: 2 } } } });
  await at.produce(["a", "b", "c", "d"]);
  assert.deepEqual(await at.consume(0n), ["3 c", "4 d"]);
  assert.deepEqual(await at.consume(2n, {}, 2), ["3 c", "4 d"]);
});

test("Consume: request header fairlead-follow: false ends at the tail", async () => {
  await using at = await open();
  await at.produce(["a"]);
  assert.deepEqual(await at.consume(0n, { "fairlead-follow": "false" }), ["1 a"]);
  assert.deepEqual(await at.consume(0n, { "fairlead-follow": "true" }, 1), ["1 a"]);
  assert.deepEqual(await at.consume(0n, { "fairlead-log": "empty" }), []);
});

test("Consume: request header fairlead-from-time (Unix ms) starts by time, at the later of it and the offset", async () => {
  let nowMs = 1000;
  await using at = await open({ engine: memoryEngine({ now: () => nowMs }) });
  for (const value of ["a", "b", "c"]) {
    await at.produce([value]);
    nowMs += 1000;
  }
  const from = (time: string, offset = 0n) => at.consume(offset, { "fairlead-from-time": time });
  assert.deepEqual(await from("0"), ["1 a", "2 b", "3 c"]);
  assert.deepEqual(await from("1001"), ["2 b", "3 c"]);
  assert.deepEqual(await from("2000"), ["2 b", "3 c"]);
  assert.deepEqual(await from("2000", 3n), ["3 c"]);
  assert.deepEqual(await from("2000", 1n), ["2 b", "3 c"]);
  assert.deepEqual(await from("4000"), []);
  const later = at.consume(0n, { "fairlead-from-time": "9000" }, 1);
  await at.produce(["too early"]);
  nowMs = 9000;
  await at.produce(["in time"]);
  assert.deepEqual(await later, ["5 in time"]);
});

test("Consume: a client that cancels frees what its call held", async () => {
  const engine = memoryEngine();
  const signals: AbortSignal[] = [];
  const { read } = engine.logs;
  engine.logs.read = (log, from, options) => {
    signals.push(options.signal);
    return read.call(engine.logs, log, from, options);
  };
  await using at = await open({ engine });
  await at.produce(["a"]);
  await at.consume(0n, {}, 1);
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true],
  );
});

test("the engine is away: unavailable, retryable, also for those who follow or append when the server closes", async () => {
  await using at = await open();
  await at.produce(["a"]);
  const ended = [
    at.consume(0n, {}, 2),
    at.consume(0n, { "fairlead-log": "not there" }, 1),
    at.produce(new Queue<string>()),
  ].map(failure);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await at.server.close();
  for (const error of await Promise.all(ended)) {
    assert.equal(error.code, Code.Unavailable);
    assert.equal(error.findDetails(RetryInfoSchema).length, 1);
  }
  const engine = memoryEngine();
  await using other = await open({ engine });
  await other.produce(["a"]);
  const following = failure(other.consume(0n, {}, 2));
  await new Promise((resolve) => setTimeout(resolve, 5));
  await engine.close();
  for (const error of [
    await following,
    await failure(other.produce(["b"])),
    await failure(other.consume(0n)),
  ]) {
    assert.equal(error.code, Code.Unavailable);
  }
});
