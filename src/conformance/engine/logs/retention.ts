import type { DeclareEngineCase } from "../../engine.js";
import { equal, ok } from "../../expect.js";
import { patternBytes } from "../../test-data.js";
import { waitUntilAfter } from "../timing.js";
import { appendTexts, followRecords, offsetsOf, readAll, textsOf } from "./read.js";

export function retentionCases(on: DeclareEngineCase): void {
  on("logs.retain() with maxRecords keeps the newest, under their offsets", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b", "c", "d");
    await logs.retain("l", { maxRecords: 2 });
    equal(offsetsOf(await readAll(logs, "l")), [3n, 4n]);
    equal(await logs.bounds("l"), { first: 3n, next: 5n });
    equal(await appendTexts(logs, "l", "e"), { first: 5n, last: 5n });
    equal(textsOf(await readAll(logs, "l", 1n)), ["d", "e"]);
    equal(await logs.bounds("l"), { first: 4n, next: 6n });
  });

  on("logs.retain() with maxBytes keeps no more than that, the newest", async ({ logs }) => {
    await logs.retain("l", { maxBytes: 20000 });
    for (let i = 0; i < 50; i++) await logs.append("l", [patternBytes(1000, i)]);
    const records = await readAll(logs, "l");
    ok(records.length > 0 && records.length <= 20, `${records.length} records of 1000 bytes are kept`);
    equal(records.at(-1), {
      offset: 50n,
      timestampMs: records.at(-1)?.timestampMs,
      value: patternBytes(1000, 49),
    });
    equal((await logs.bounds("l")).first, records[0]?.offset);
  });

  on("logs.retain() with maxAgeMs keeps what is younger", async ({ clock, logs }, { shortMs }) => {
    await appendTexts(logs, "l", "old", "older");
    await logs.retain("l", { maxAgeMs: shortMs });
    equal((await readAll(logs, "l")).length, 2);
    const [oldest] = await readAll(logs, "l");
    await waitUntilAfter((oldest?.timestampMs ?? 0) + shortMs, { now: () => clock.wall() });
    equal(await readAll(logs, "l"), []);
    equal(await logs.bounds("l"), { first: 3n, next: 3n });
    equal(await appendTexts(logs, "l", "new"), { first: 3n, last: 3n });
    equal(textsOf(await readAll(logs, "l")), ["new"]);
  });

  on("logs.retain() replaces earlier settings, and holds from then on", async ({ logs }) => {
    await logs.retain("l", { maxRecords: 1 });
    await appendTexts(logs, "l", "a", "b");
    equal(textsOf(await readAll(logs, "l")), ["b"]);
    await logs.retain("l", {});
    await appendTexts(logs, "l", "c", "d");
    equal(textsOf(await readAll(logs, "l")), ["b", "c", "d"]);
    await logs.retain("l", { maxRecords: 2, maxAgeMs: 60000 });
    equal(textsOf(await readAll(logs, "l")), ["c", "d"]);
  });
}

export function retainedReadCases(on: DeclareEngineCase): void {
  on("logs.retain() of one log leaves the others", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b");
    await appendTexts(logs, "l2", "a", "b");
    await logs.retain("l", { maxRecords: 1 });
    equal((await readAll(logs, "l2")).length, 2);
  });

  on("logs.read() skips forward over what is not retained any more", async ({ logs }) => {
    const records = followRecords(logs, "l", 1n);
    await records.quiet(5);
    await logs.retain("l", { maxRecords: 2 });
    await appendTexts(logs, "l", "a");
    equal((await records.next()).offset, 1n);
    await appendTexts(logs, "l", "b", "c", "d", "e", "f");
    // The reader may have buffered records that are not retained any more. They still come in order.
    const seen: bigint[] = [];
    while (seen.at(-1) !== 6n) seen.push((await records.next()).offset);
    equal(
      [...seen].sort((a, b) => Number(a - b)),
      seen,
    );
    equal(offsetsOf(await readAll(logs, "l", 2n)), [5n, 6n]);
  });

  on("logs.seek() knows only what is retained", async ({ logs }) => {
    await appendTexts(logs, "l", "a", "b", "c");
    await logs.retain("l", { maxRecords: 1 });
    equal(await logs.seek("l", 0), 3n);
  });
}
