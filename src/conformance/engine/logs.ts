import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { LogRecord, LogStore } from "../../server/engine.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import {
  collect,
  DISTINCT_NAMES,
  LATE_MS,
  neverAborts,
  patternBytes,
  type Reader,
  reader,
  sleepMs,
  waitUntilAfter,
} from "./steps.js";

/** Logs: appending, reading and following, bounds and times, retention. */
export function engineLogCases(on: DeclareEngineCase): void {
  appendCases(on);
  logReadCases(on);
  logReaderCases(on);
  followCases(on);
  followEndCases(on);
  retentionCases(on);
  retainedReadCases(on);
}

const append = (logs: LogStore, log: string, ...texts: string[]) => logs.append(log, texts.map(utf8));

/** The records from `from` on that are there now; checks that no batch is empty. */
async function readable(logs: LogStore, log: string, from = 1n): Promise<LogRecord[]> {
  const batches = await collect(logs.read(log, from, { follow: false, signal: neverAborts() }));
  for (const batch of batches) ok(batch.length > 0, "no batch is empty");
  return batches.flat();
}

const texts = (records: LogRecord[]) => records.map(({ value }) => fromUtf8(value));
const offsets = (records: LogRecord[]) => records.map(({ offset }) => offset);

/** Records one by one. */
const follow = (logs: LogStore, log: string, from: bigint, signal = neverAborts()): Reader<LogRecord> =>
  reader(
    (async function* () {
      for await (const batch of logs.read(log, from, { follow: true, signal })) yield* batch;
    })(),
  );

function appendCases(on: DeclareEngineCase): void {
  on("logs.append() gives offsets from 1n on without gaps", async ({ logs }) => {
    equal(await append(logs, "l", "a"), { first: 1n, last: 1n });
    equal(await append(logs, "l", "b", "c", "d"), { first: 2n, last: 4n });
    equal(await append(logs, "l", "e"), { first: 5n, last: 5n });
    const records = await readable(logs, "l");
    equal(offsets(records), [1n, 2n, 3n, 4n, 5n]);
    equal(texts(records), ["a", "b", "c", "d", "e"]);
  });

  on("logs.append() counts each log by itself", async ({ logs }) => {
    for (const name of DISTINCT_NAMES) equal(await append(logs, name, `of ${name}`), { first: 1n, last: 1n });
    for (const name of DISTINCT_NAMES) equal(texts(await readable(logs, name)), [`of ${name}`], name);
  });

  on("logs.append() of racing writers keeps the values of each together", async ({ logs }) => {
    const write = (i: number) => append(logs, "l", ...Array.from({ length: 10 }, (_, j) => `${i}.${j}`));
    const places = await Promise.all(Array.from({ length: 16 }, (_, i) => write(i)));
    const records = await readable(logs, "l");
    equal(
      offsets(records),
      Array.from({ length: 160 }, (_, i) => BigInt(i + 1)),
    );
    for (const [i, { first, last }] of places.entries()) {
      equal(last - first, 9n);
      equal(
        texts(records.slice(Number(first) - 1, Number(last))),
        Array.from({ length: 10 }, (_, j) => `${i}.${j}`),
      );
    }
  });

  on("logs.append() keeps every byte, of an empty value and of a large one", async ({ logs }) => {
    await logs.append("l", [new Uint8Array(), patternBytes(1024 ** 2), patternBytes(3)]);
    equal(
      (await readable(logs, "l")).map(({ value }) => value),
      [new Uint8Array(), patternBytes(1024 ** 2), patternBytes(3)],
    );
  });

  on("logs.append() stamps records with the time, which never goes back", async ({ logs }) => {
    const beforeMs = Date.now();
    for (let i = 0; i < 5; i++) {
      await append(logs, "l", `${i}`);
      await sleepMs(1);
    }
    const times = (await readable(logs, "l")).map(({ timestampMs }) => timestampMs);
    ok(Math.abs((times[0] ?? 0) - beforeMs) < LATE_MS, "the time is that of the append");
    equal(
      [...times].sort((a, b) => a - b),
      times,
    );
  });
}

function logReadCases(on: DeclareEngineCase): void {
  on("logs.read() begins at its offset, or with the oldest record where that is later", async ({ logs }) => {
    await append(logs, "l", "a", "b", "c");
    equal(texts(await readable(logs, "l", 2n)), ["b", "c"]);
    equal(texts(await readable(logs, "l", 3n)), ["c"]);
    equal(texts(await readable(logs, "l", 0n)), ["a", "b", "c"]);
    equal(await readable(logs, "l", 4n), []);
    equal(await readable(logs, "l", 2n ** 62n), []);
  });

  on("logs.read() gives every record of a long log, in order", async ({ logs }) => {
    for (let i = 0; i < 4; i++) {
      await append(logs, "l", ...Array.from({ length: 500 }, (_, j) => `${i * 500 + j}`));
    }
    equal(
      texts(await readable(logs, "l")),
      Array.from({ length: 2000 }, (_, i) => `${i}`),
    );
  });

  on("logs.read() of an unknown log is at its end", async ({ logs }) => {
    equal(await readable(logs, "unknown"), []);
    equal(await logs.bounds("unknown"), { first: 1n, next: 1n });
    equal(await logs.seek("unknown", 0), 1n);
  });
}

function logReaderCases(on: DeclareEngineCase): void {
  on("logs.read() of several readers gives each its own place", async ({ logs }) => {
    await append(logs, "l", "a", "b");
    const early = follow(logs, "l", 1n);
    equal((await early.next()).offset, 1n);
    const late = follow(logs, "l", 2n);
    equal((await late.next()).offset, 2n);
    equal((await early.next()).offset, 2n);
    await early.quiet(5);
    await late.quiet(5);
    const told = [early.next(), late.next()];
    await append(logs, "l", "c");
    equal(texts(await Promise.all(told)), ["c", "c"]);
    await late.leave();
    await append(logs, "l", "d");
    equal(texts([await early.next()]), ["d"]);
  });

  on("logs.read() may be left at any time", async ({ logs }) => {
    await append(logs, "l", "a", "b");
    for await (const batch of logs.read("l", 1n, { follow: true, signal: neverAborts() })) {
      equal(batch[0]?.offset, 1n);
      break;
    }
    equal((await readable(logs, "l")).length, 2);
  });

  on("logs.bounds() tells the oldest offset and the next one", async ({ logs }) => {
    await append(logs, "l", "a", "b");
    equal(await logs.bounds("l"), { first: 1n, next: 3n });
    await append(logs, "l", "c");
    equal(await logs.bounds("l"), { first: 1n, next: 4n });
  });

  on("logs.seek() finds the first record of a time or later", async ({ logs }) => {
    await append(logs, "l", "a", "b");
    await sleepMs(5);
    await append(logs, "l", "c", "d");
    const times = (await readable(logs, "l")).map(({ timestampMs }) => timestampMs);
    const [atMs = 0, , laterMs = 0] = times;
    equal(await logs.seek("l", 0), 1n);
    equal(await logs.seek("l", atMs), 1n);
    equal(await logs.seek("l", laterMs), 3n);
    equal(await logs.seek("l", laterMs - 1), BigInt(times.findIndex((time) => time >= laterMs - 1) + 1));
    equal(await logs.seek("l", laterMs + 60_000), 5n);
  });
}

function followCases(on: DeclareEngineCase): void {
  on("logs.read() with follow waits at the tail for more", async ({ logs }) => {
    await append(logs, "l", "a");
    const records = follow(logs, "l", 1n);
    equal(texts(await records.take(1)), ["a"]);
    await records.quiet();
    await append(logs, "l", "b", "c");
    equal(texts(await records.take(2)), ["b", "c"]);
    await records.quiet(5);
    await append(logs, "l", "d");
    const { offset, value } = await records.next();
    equal([offset, fromUtf8(value)], [4n, "d"]);
  });

  on("logs.read() with follow waits for a log that is not there yet", async ({ logs }) => {
    const records = follow(logs, "l", 1n);
    await records.quiet(5);
    await append(logs, "l", "a");
    equal((await records.next()).offset, 1n);
  });

  on("logs.read() with follow from an offset to come begins there", async ({ logs }) => {
    await append(logs, "l", "a");
    const records = follow(logs, "l", 4n);
    await records.quiet(5);
    await append(logs, "l", "b", "c");
    await records.quiet(5);
    await append(logs, "l", "d", "e");
    equal(texts(await records.take(2)), ["d", "e"]);
  });

  on("logs.read() with follow misses nothing that is appended while it reads", async ({ logs }) => {
    const records = follow(logs, "l", 1n);
    const write = async () => {
      for (let i = 0; i < 300; i++) await append(logs, "l", `${i}`);
    };
    const [found] = await Promise.all([records.take(300), write()]);
    equal(
      texts(found),
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
  });
}

function followEndCases(on: DeclareEngineCase): void {
  on("logs.read() with follow ends when its signal aborts", async ({ logs }) => {
    await append(logs, "l", "a");
    const enough = new AbortController();
    const waits = follow(logs, "l", 1n, enough.signal);
    const unknown = follow(logs, "unknown", 1n, enough.signal);
    await waits.take(1);
    await waits.quiet(5);
    await unknown.quiet(5);
    enough.abort();
    await waits.end();
    await unknown.end();
    await append(logs, "l", "b");
    equal((await logs.bounds("unknown")).next, 1n);
  });

  on("logs.read() with a signal that has aborted ends at once", async ({ logs }) => {
    await append(logs, "l", "a");
    for (const followed of [true, false]) {
      const signal = AbortSignal.abort();
      equal(await collect(logs.read("l", 1n, { follow: followed, signal })), []);
    }
  });
}

function retentionCases(on: DeclareEngineCase): void {
  on("logs.retain() with maxRecords keeps the newest, under their offsets", async ({ logs }) => {
    await append(logs, "l", "a", "b", "c", "d");
    await logs.retain("l", { maxRecords: 2 });
    equal(offsets(await readable(logs, "l")), [3n, 4n]);
    equal(await logs.bounds("l"), { first: 3n, next: 5n });
    equal(await append(logs, "l", "e"), { first: 5n, last: 5n });
    equal(texts(await readable(logs, "l", 1n)), ["d", "e"]);
    equal(await logs.bounds("l"), { first: 4n, next: 6n });
  });

  on("logs.retain() with maxBytes keeps no more than that, the newest", async ({ logs }) => {
    await logs.retain("l", { maxBytes: 20_000 });
    for (let i = 0; i < 50; i++) await logs.append("l", [patternBytes(1000, i)]);
    const records = await readable(logs, "l");
    ok(records.length > 0 && records.length <= 20, `${records.length} records of 1000 bytes are kept`);
    equal(records.at(-1), {
      offset: 50n,
      timestampMs: records.at(-1)?.timestampMs,
      value: patternBytes(1000, 49),
    });
    equal((await logs.bounds("l")).first, records[0]?.offset);
  });

  on("logs.retain() with maxAgeMs keeps what is younger", async ({ logs }) => {
    await append(logs, "l", "old", "older");
    await logs.retain("l", { maxAgeMs: 40 });
    equal((await readable(logs, "l")).length, 2);
    await waitUntilAfter(((await readable(logs, "l"))[0]?.timestampMs ?? 0) + 40);
    equal(await readable(logs, "l"), []);
    equal(await logs.bounds("l"), { first: 3n, next: 3n });
    equal(await append(logs, "l", "new"), { first: 3n, last: 3n });
    equal(texts(await readable(logs, "l")), ["new"]);
  });

  on("logs.retain() replaces what was said before, and holds from then on", async ({ logs }) => {
    await logs.retain("l", { maxRecords: 1 });
    await append(logs, "l", "a", "b");
    equal(texts(await readable(logs, "l")), ["b"]);
    await logs.retain("l", {});
    await append(logs, "l", "c", "d");
    equal(texts(await readable(logs, "l")), ["b", "c", "d"]);
    await logs.retain("l", { maxRecords: 2, maxAgeMs: 60_000 });
    equal(texts(await readable(logs, "l")), ["c", "d"]);
  });
}

function retainedReadCases(on: DeclareEngineCase): void {
  on("logs.retain() of one log leaves the others", async ({ logs }) => {
    await append(logs, "l", "a", "b");
    await append(logs, "l2", "a", "b");
    await logs.retain("l", { maxRecords: 1 });
    equal((await readable(logs, "l2")).length, 2);
  });

  on("logs.read() skips forward over what is not retained any more", async ({ logs }) => {
    const records = follow(logs, "l", 1n);
    await records.quiet(5);
    await logs.retain("l", { maxRecords: 2 });
    await append(logs, "l", "a");
    equal((await records.next()).offset, 1n);
    await append(logs, "l", "b", "c", "d", "e", "f");
    // What the reader has been handed already is its own: it may have more than is retained, in order.
    const seen: bigint[] = [];
    while (seen.at(-1) !== 6n) seen.push((await records.next()).offset);
    equal(
      [...seen].sort((a, b) => Number(a - b)),
      seen,
    );
    equal(offsets(await readable(logs, "l", 2n)), [5n, 6n]);
  });

  on("logs.seek() knows only what is retained", async ({ logs }) => {
    await append(logs, "l", "a", "b", "c");
    await logs.retain("l", { maxRecords: 1 });
    equal(await logs.seek("l", 0), 3n);
  });
}
