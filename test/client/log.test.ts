import assert from "node:assert/strict";
import { Code, createRouterTransport, type Transport } from "@connectrpc/connect";
import fc from "fast-check";
import { describe, test } from "vitest";
import { z } from "zod";
import { LogService } from "../../gen/atomix/log/log_pb.js";
import { SchemaError, text } from "../../src/client/codec.js";
import { createLog, type Log, type LogReadOptions } from "../../src/client/log.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { listen, nodePlatform } from "../../src/server/node.js";
import { createServer } from "../../src/server/server.js";
import { createNodeTransport } from "../../src/transport/node.js";
import { openCuttableProxy } from "../support/cuttable-proxy.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

const texts = (transport: Transport, name?: string): Log<string> =>
  createLog(transport, name, { codec: text() });

/** The records of the log. */
async function all<T>(log: Log<T>, options?: LogReadOptions): Promise<T[]> {
  const values: T[] = [];
  for await (const { value } of log.read({ follow: false, ...options })) values.push(value);
  return values;
}

/** The first `count` records of a read that follows. */
async function take<T>(log: Log<T>, count: number, options?: LogReadOptions) {
  const entries = [];
  for await (const entry of log.read(options)) if (entries.push(entry) === count) break;
  return entries;
}

forEachProtocol("upload", (open) => {
  test("append() returns the offsets of the values, and read() reads them from any offset on", async () => {
    await using at = await open();
    const log = texts(at.transport, "audit");
    assert.deepEqual(await log.append(["a", "b"]), { firstOffset: 1n, lastOffset: 2n });
    assert.deepEqual(await log.append("c"), { firstOffset: 3n, lastOffset: 3n });
    assert.deepEqual(await all(log), ["a", "b", "c"]);
    assert.deepEqual(await all(log, { from: 2n }), ["b", "c"]);
    assert.deepEqual(await all(log, { from: 4n }), []);
  });

  test("read() follows the log: it also yields records that are appended later, with offset and time", async () => {
    await using at = await open();
    const log = texts(at.transport);
    const before = Date.now();
    const reading = take(log, 3);
    await log.append("a");
    await log.append(["b", "ß 🔑"]);
    const entries = await reading;
    assert.deepEqual(
      entries.map(({ offset, value }) => [offset, value]),
      [
        [1n, "a"],
        [2n, "b"],
        [3n, "ß 🔑"],
      ],
    );
    for (const { timestamp } of entries) {
      assert.ok(timestamp.getTime() >= before && timestamp.getTime() <= Date.now());
    }
  });
});

forEachProtocol("download", (open) => {
  test("read() ends at the end of the log with follow: false, and leaving a following loop frees the server", async () => {
    await using at = await open();
    await texts(at.server.transport(), "журнал/1").append(["a", "b"]);
    const log = texts(at.transport, "журнал/1");
    assert.deepEqual(await all(log), ["a", "b"]);
    assert.deepEqual((await take(log, 1)).length, 1);
  });
});

test("append() without values makes no call, and a value that does not fit its schema is not sent", async () => {
  await using at = await openInProcess();
  assert.deepEqual(await texts(at.transport).append([]), { firstOffset: undefined, lastOffset: undefined });
  const ages = createLog(at.transport, "ages", { schema: z.object({ age: z.number() }) });
  await assert.rejects(ages.append([{ age: 1 }, { age: "?" } as never]), SchemaError);
  assert.deepEqual(await all(ages), []);
});

test("append() takes an array as several values; a value that is an array must be in another array", async () => {
  await using at = await openInProcess();
  const pairs = createLog<[number, number]>(at.transport);
  await pairs.append([[1, 2]]);
  // @ts-expect-error a number is not a value of this log
  await pairs.append([3, 4]);
  assert.deepEqual(await all(pairs), [[1, 2], 3, 4]);
});

test("64 concurrent append() calls: the values of each are next to each other, and no offset is used twice", async () => {
  await using at = await openInProcess();
  const log = createLog<number>(at.transport);
  const appends = await Promise.all(Array.from({ length: 64 }, (_, i) => log.append([i, i, i])));
  const values = await all(log);
  assert.equal(values.length, 192);
  for (const [i, { firstOffset, lastOffset }] of appends.entries()) {
    assert.ok(firstOffset !== undefined);
    assert.equal(lastOffset, firstOffset + 2n);
    assert.deepEqual(values.slice(Number(firstOffset) - 1, Number(lastOffset)), [i, i, i]);
  }
});

test("an aborted append() writes nothing", async () => {
  await using at = await openInProcess();
  const leave = new AbortController();
  const log = texts(at.transport);
  const appending = log.append(
    Array.from({ length: 100 }, () => "x"),
    { signal: leave.signal },
  );
  leave.abort();
  await assert.rejects(appending, { code: Code.Canceled });
  assert.deepEqual(await all(log), []);
});

test("records are read in the order of their appends, with any number of writers", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 4 }), { minLength: 1, maxLength: 4 }),
      async (writers) => {
        await using at = await openInProcess();
        const log = createLog<[number, number]>(at.transport);
        const total = writers.flat().reduce((sum, size) => sum + size, 0);
        const reading = total > 0 ? take(log, total) : [];
        await Promise.all(
          writers.map(async (sizes, writer) => {
            let n = 0;
            for (const size of sizes) {
              const values = Array.from({ length: size }, (): [number, number] => [writer, n++]);
              const { firstOffset, lastOffset } = await log.append(values);
              if (size <= 512) assert.equal(Number(lastOffset) - Number(firstOffset) + 1, size);
            }
          }),
        );
        const entries = await reading;
        assert.deepEqual(
          entries.map(({ offset }) => offset),
          entries.map((_, i) => BigInt(i + 1)),
        );
        for (const writer of writers.keys()) {
          const own = entries.map(({ value }) => value).filter(([by]) => by === writer);
          assert.deepEqual(
            own.map(([, n]) => n),
            own.map((_, i) => i),
          );
        }
      },
    ),
    { numRuns: 15 },
  );
});

test("read() with fromTime starts at the first record of that time, and with `from` at the later of both", async () => {
  let nowMs = 1_000_000;
  await using at = await openInProcess({ engine: memoryEngine({ now: () => nowMs }) });
  const log = texts(at.transport);
  for (const value of ["a", "b", "c"]) {
    await log.append(value);
    nowMs += 1000;
  }
  assert.deepEqual(await all(log, { fromTime: 1_001_000 }), ["b", "c"]);
  assert.deepEqual(await all(log, { fromTime: new Date(1_000_001) }), ["b", "c"]);
  assert.deepEqual(await all(log, { fromTime: 1_000_000.5 }), ["b", "c"]);
  assert.deepEqual(await all(log, { fromTime: 1_001_000, from: 3n }), ["c"]);
  assert.deepEqual(await all(log, { fromTime: 0, from: 2n }), ["b", "c"]);
  const later = take(log, 1, { fromTime: 1_005_000 });
  await log.append("too early");
  nowMs = 1_005_000;
  await log.append("in time");
  assert.equal((await later)[0]?.value, "in time");
  for (const fromTime of [Number.NaN, -1, new Date("?")])
    assert.throws(() => log.read({ fromTime }), RangeError);
  assert.throws(() => log.read({ from: -1n }), /^RangeError: .* from must be 0n or more, got -1n$/);
  for (const from of ["start", 0, Number.NaN, null]) {
    assert.throws(
      () => log.read({ from: from as never }),
      /^TypeError: .* from must be of type bigint, got /,
    );
  }
  for (const fromTime of ["2026", null]) {
    assert.throws(() => log.read({ fromTime: fromTime as never }), /^TypeError: .* fromTime must be a Date/);
  }
});

test("records that retention removed by count, bytes or age are skipped, also without further appends", async () => {
  let nowMs = 1_000_000;
  const logs = { few: { maxRecords: 2 }, small: { maxBytes: 100 }, young: { maxAgeMs: 1000 } };
  await using at = await openInProcess({ engine: memoryEngine({ now: () => nowMs }), config: { logs } });
  const [few, small, young] = ["few", "small", "young"].map((name) => texts(at.transport, name));
  for (const log of [few, small, young]) await log?.append(["1", "2", "3", "4"]);
  assert.deepEqual(await all(few as Log<string>), ["3", "4"]);
  assert.deepEqual((await take(few as Log<string>, 1, { from: 1n }))[0]?.offset, 3n);
  assert.deepEqual(await all(small as Log<string>), ["2", "3", "4"]);
  assert.deepEqual(await all(young as Log<string>), ["1", "2", "3", "4"]);
  nowMs += 1000;
  assert.deepEqual(await all(young as Log<string>), []);
  assert.deepEqual(await young?.append("5"), { firstOffset: 5n, lastOffset: 5n });
});

test("read() fails at its deadline, and ends immediately when it is aborted", async () => {
  await using at = await openInProcess();
  const log = texts(at.transport);
  await assert.rejects(take(log, 1, { timeoutMs: 30 }), { code: Code.DeadlineExceeded });
  const leave = new AbortController();
  const reading = take(log, 1, { signal: leave.signal });
  leave.abort();
  await assert.rejects(reading, { code: Code.Canceled });
});

test("leaving the loop of read() ends the read of the engine", async () => {
  const engine = memoryEngine();
  const signals: AbortSignal[] = [];
  const read: Engine["logs"]["read"] = (log, from, options) => {
    signals.push(options.signal);
    return engine.logs.read(log, from, options);
  };
  const logs = Object.assign(Object.create(engine.logs) as Engine["logs"], {
    append: engine.logs.append.bind(engine.logs),
    bounds: engine.logs.bounds.bind(engine.logs),
    seek: engine.logs.seek.bind(engine.logs),
    retain: engine.logs.retain.bind(engine.logs),
    read,
  });
  await using at = await openInProcess({ engine: { ...engine, logs } });
  const log = texts(at.transport);
  await log.append(["a", "b"]);
  await take(log, 1);
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true],
  );
});

describe("a lost connection", () => {
  /** An engine that is not closed with its server. */
  const lasting = (): Engine => ({ ...memoryEngine(), close: async () => {} });

  test("read() continues without gaps and repeats each time the connection is cut", async () => {
    const server = createServer({ platform: nodePlatform });
    await using at = await listen(server, { port: 0 });
    await using way = await openCuttableProxy(at.port);
    await using transport = createNodeTransport(way.url);
    const total = 300;
    const here = createLog<number>(server.transport());
    const writing = (async () => {
      for (let n = 0; n < total; n++) await here.append(n);
    })();
    let cuts = 0;
    const values: number[] = [];
    for await (const { offset, value } of createLog<number>(transport).read()) {
      assert.equal(offset, BigInt(value + 1));
      if (values.push(value) === total) break;
      if (values.length % 60 === 0 && ++cuts) way.cut();
    }
    await writing;
    assert.equal(cuts, 4);
    assert.deepEqual(
      values,
      Array.from({ length: total }, (_, n) => n),
    );
  });

  test("read() continues after a restart of the server on the same port", async () => {
    const engine = lasting();
    const serve = (port: number) => listen(createServer({ platform: nodePlatform, engine }), { port });
    let at = await serve(0);
    await using transport = createNodeTransport(at.url);
    const log = texts(transport, "audit");
    await log.append(["a", "b"]);
    const values: string[] = [];
    const restart = async () => {
      await at.close();
      at = await serve(at.port);
      await texts(createServer({ engine }).transport(), "audit").append("c");
    };
    let restarted: Promise<void> | undefined;
    for await (const { value } of log.read({ timeoutMs: 10_000 })) {
      values.push(value);
      if (value === "b") restarted = restart();
      if (value === "c") break;
    }
    await restarted;
    await at.close();
    assert.deepEqual(values, ["a", "b", "c"]);
  });

  test("append() is not retried: it may have happened", async () => {
    const server = createServer({ platform: nodePlatform });
    const at = await listen(server, { port: 0 });
    await using transport = createNodeTransport(at.url);
    await at.close();
    await assert.rejects(texts(transport).append("a"), { code: Code.Unavailable });
  });
});

describe("a server without extensions", () => {
  /** As Atomix: one log, no headers, no offsets, and the first record even for a later offset. */
  const foreign = (records: string[], { endsEarly = false } = {}) => {
    const offsets: bigint[] = [];
    const transport = createRouterTransport(({ service }) =>
      service(LogService, {
        async produce(requests) {
          for await (const { value } of requests) records.push(new TextDecoder().decode(value));
          return {};
        },
        async *consume({ offset }, { signal }) {
          offsets.push(offset);
          for (const [i, value] of records.entries()) {
            if (i > 0 && BigInt(i + 1) < offset) continue;
            yield {
              offset: BigInt(i + 1),
              timestamp: 1_559_000_000_000n,
              value: new TextEncoder().encode(value),
            };
            if (endsEarly && offsets.length === 1) return;
          }
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
      }),
    );
    return { transport, offsets };
  };

  test("append() resolves without offsets and read() follows, without repeats", async () => {
    const { transport } = foreign([]);
    const log = texts(transport);
    assert.deepEqual(await log.append(["a", "b"]), { firstOffset: undefined, lastOffset: undefined });
    assert.deepEqual(
      (await take(log, 2)).map(({ value, timestamp }) => [value, timestamp.getTime()]),
      [
        ["a", 1_559_000_000_000],
        ["b", 1_559_000_000_000],
      ],
    );
    assert.deepEqual((await take(log, 1, { from: 2n }))[0]?.value, "b");
  });

  test("read() continues after the end of a stream that should follow the log", async () => {
    const { transport, offsets } = foreign(["a", "b", "c"], { endsEarly: true });
    const entries = await take(texts(transport), 3);
    assert.deepEqual(
      entries.map(({ value }) => value),
      ["a", "b", "c"],
    );
    assert.deepEqual(offsets, [0n, 2n]);
  });

  test("what needs extensions fails as unimplemented, with a message that names it", async () => {
    const { transport } = foreign([]);
    await assert.rejects(texts(transport, "audit").append("a"), {
      code: Code.Unimplemented,
      message: /"audit"/,
    });
    await assert.rejects(take(texts(transport, "audit"), 1), {
      code: Code.Unimplemented,
      message: /"audit"/,
    });
    await assert.rejects(all(texts(transport)), { code: Code.Unimplemented, message: /to its end only/ });
    await assert.rejects(take(texts(transport), 1, { fromTime: 0 }), {
      code: Code.Unimplemented,
      message: /from a time on/,
    });
  });
});
