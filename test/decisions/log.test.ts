import assert from "node:assert/strict";
import { Code, createClient, type Transport } from "@connectrpc/connect";
import { afterEach, test, vi } from "vitest";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Queue } from "../../src/lib/queue.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

async function open(options?: ServerOptions) {
  const at = await openInProcess(options);
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
