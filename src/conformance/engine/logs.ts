import { sleep } from "../../rpc/sleep.js";
import type { DeclareEngineCase } from "../engine.js";
import { equal, ok } from "../expect.js";
import { DISTINCT_NAMES, patternBytes } from "../test-data.js";
import { followCases, followEndCases } from "./logs/follow.js";

import { appendTexts, followRecords, offsetsOf, readAll, textsOf } from "./logs/read.js";
import { retainedReadCases, retentionCases } from "./logs/retention.js";
import { LATE_MS, neverAborts } from "./timing.js";

/** Cases of logs: append, read and follow, bounds and times, retention. */
export function engineLogCases(on: DeclareEngineCase): void {
  appendCases(on);
  logReadCases(on);
  logReaderCases(on);
  followCases(on);
  followEndCases(on);
  retentionCases(on);
  retainedReadCases(on);
}

function appendCases(on: DeclareEngineCase): void {
  on("logs.append() gives offsets from 1n on without gaps", async ({ logs }) => {
    equal(await appendTexts(logs, "l", "a"), { first: 1n, last: 1n });
    equal(await appendTexts(logs, "l", "b", "c", "d"), { first: 2n, last: 4n });
    equal(await appendTexts(logs, "l", "e"), { first: 5n, last: 5n });
    const records = await readAll(logs, "l");
    equal(offsetsOf(records), [1n, 2n, 3n, 4n, 5n]);
    equal(textsOf(records), ["a", "b", "c", "d", "e"]);
  });

  on("logs.append() counts each log by itself", async ({ logs }) => {
    for (const name of DISTINCT_NAMES)
      equal(await appendTexts(logs, name, `of ${name}`), { first: 1n, last: 1n });
    for (const name of DISTINCT_NAMES) equal(textsOf(await readAll(logs, name)), [`of ${name}`], name);
  });

  on("logs.append() of racing writers keeps the values of each together", async ({ logs }) => {
    const write = (i: number) => appendTexts(logs, "l", ...Array.from({ length: 10 }, (_, j) => `${i}.${j}`));
    const places = await Promise.all(Array.from({ length: 16 }, (_, i) => write(i)));
    const records = await readAll(logs, "l");
    equal(
      offsetsOf(records),
      Array.from({ length: 160 }, (_, i) => BigInt(i + 1)),
    );
    for (const [i, { first, last }] of places.entries()) {
      equal(last - first, 9n);
      equal(
        textsOf(records.slice(Number(first) - 1, Number(last))),
        Array.from({ length: 10 }, (_, j) => `${i}.${j}`),
      );
    }
  });

  on("logs.append() keeps every byte, of an empty value and of a large one", async ({ logs }) => {
    await logs.append("l", [new Uint8Array(), patternBytes(1024 ** 2), patternBytes(3)]);
    equal(
      (await readAll(logs, "l")).map(({ value }) => value),
      [new Uint8Array(), patternBytes(1024 ** 2), patternBytes(3)],
    );
  });

  on("logs.append() stamps records with the time, which never goes back", async ({ logs }) => {
    const beforeMs = Date.now();
    for (let i = 0; i < 5; i++) {
      await appendTexts(logs, "l", `${i}`);
      await sleep(1);
    }
    const times = (await readAll(logs, "l")).map(({ timestampMs }) => timestampMs);
    ok(Math.abs((times[0] ?? 0) - beforeMs) < LATE_MS, "the time is that of the append");
    equal(
      [...times].sort((a, b) => a - b),
      times,
    );
  });
}

function logReadCases(on: DeclareEngineCase): void {
  on("logs.read() begins at its offset, or with the oldest record where that is later", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b", "c");
    equal(textsOf(await readAll(logs, "l", 2n)), ["b", "c"]);
    equal(textsOf(await readAll(logs, "l", 3n)), ["c"]);
    equal(textsOf(await readAll(logs, "l", 0n)), ["a", "b", "c"]);
    equal(await readAll(logs, "l", 4n), []);
    equal(await readAll(logs, "l", 2n ** 62n), []);
  });

  on("logs.read() gives every record of a long log, in order", async ({ logs }) => {
    for (let i = 0; i < 4; i++) {
      await appendTexts(logs, "l", ...Array.from({ length: 500 }, (_, j) => `${i * 500 + j}`));
    }
    equal(
      textsOf(await readAll(logs, "l")),
      Array.from({ length: 2000 }, (_, i) => `${i}`),
    );
  });

  on("logs.read() of an unknown log is at its end", async ({ logs }) => {
    equal(await readAll(logs, "unknown"), []);
    equal(await logs.bounds("unknown"), { first: 1n, next: 1n });
    equal(await logs.seek("unknown", 0), 1n);
  });
}

function logReaderCases(on: DeclareEngineCase): void {
  on("logs.read() of several readers gives each its own place", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b");
    const early = followRecords(logs, "l", 1n);
    equal((await early.next()).offset, 1n);
    const late = followRecords(logs, "l", 2n);
    equal((await late.next()).offset, 2n);
    equal((await early.next()).offset, 2n);
    await early.quiet(5);
    await late.quiet(5);
    const next = [early.next(), late.next()];
    await appendTexts(logs, "l", "c");
    equal(textsOf(await Promise.all(next)), ["c", "c"]);
    await late.leave();
    await appendTexts(logs, "l", "d");
    equal(textsOf([await early.next()]), ["d"]);
  });

  on("logs.read() may be left at any time", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b");
    for await (const batch of logs.read("l", 1n, { follow: true, signal: neverAborts() })) {
      equal(batch[0]?.offset, 1n);
      break;
    }
    equal((await readAll(logs, "l")).length, 2);
  });

  on("logs.bounds() tells the oldest offset and the next one", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b");
    equal(await logs.bounds("l"), { first: 1n, next: 3n });
    await appendTexts(logs, "l", "c");
    equal(await logs.bounds("l"), { first: 1n, next: 4n });
  });

  on("logs.seek() finds the first record of a time or later", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b");
    await sleep(5);
    await appendTexts(logs, "l", "c", "d");
    const times = (await readAll(logs, "l")).map(({ timestampMs }) => timestampMs);
    const [atMs = 0, , laterMs = 0] = times;
    equal(await logs.seek("l", 0), 1n);
    equal(await logs.seek("l", atMs), 1n);
    equal(await logs.seek("l", laterMs), 3n);
    equal(await logs.seek("l", laterMs - 1), BigInt(times.findIndex((time) => time >= laterMs - 1) + 1));
    equal(await logs.seek("l", laterMs + 60_000), 5n);
  });
}
