import { fromUtf8 } from "../../../lib/utf8.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal } from "../../expect.js";
import { collect } from "../reader.js";
import { appendTexts, followRecords, textsOf } from "./read.js";

export function followCases(on: DeclareEngineCase): void {
  on("logs.read() with follow waits at the tail for more", async ({ logs }) => {
    await appendTexts(logs, "l", "a");
    const records = followRecords(logs, "l", 1n);
    equal(textsOf(await records.take(1)), ["a"]);
    await records.quiet();
    await appendTexts(logs, "l", "b", "c");
    equal(textsOf(await records.take(2)), ["b", "c"]);
    await records.quiet(5);
    await appendTexts(logs, "l", "d");
    const { offset, value } = await records.next();
    equal([offset, fromUtf8(value)], [4n, "d"]);
  });

  on("logs.read() with follow waits for a log that is not there yet", async ({ logs }) => {
    const records = followRecords(logs, "l", 1n);
    await records.quiet(5);
    await appendTexts(logs, "l", "a");
    equal((await records.next()).offset, 1n);
  });

  on("logs.read() with follow from an offset to come begins there", async ({ logs }) => {
    await appendTexts(logs, "l", "a");
    const records = followRecords(logs, "l", 4n);
    await records.quiet(5);
    await appendTexts(logs, "l", "b", "c");
    await records.quiet(5);
    await appendTexts(logs, "l", "d", "e");
    equal(textsOf(await records.take(2)), ["d", "e"]);
  });

  on("logs.read() with follow misses nothing that is appended while it reads", async ({ logs }) => {
    const records = followRecords(logs, "l", 1n);
    const write = async () => {
      for (let i = 0; i < 300; i++) await appendTexts(logs, "l", `${i}`);
    };
    const [received] = await Promise.all([records.take(300), write()]);
    equal(
      textsOf(received),
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
  });
}

export function followEndCases(on: DeclareEngineCase): void {
  on("logs.read() with follow ends when its signal aborts", async ({ logs }) => {
    await appendTexts(logs, "l", "a");
    const stop = new AbortController();
    const waits = followRecords(logs, "l", 1n, stop.signal);
    const unknown = followRecords(logs, "unknown", 1n, stop.signal);
    await waits.take(1);
    await waits.quiet(5);
    await unknown.quiet(5);
    stop.abort();
    await waits.end();
    await unknown.end();
    await appendTexts(logs, "l", "b");
    equal((await logs.bounds("unknown")).next, 1n);
  });

  on("logs.read() with a signal that has aborted ends at once", async ({ logs }) => {
    await appendTexts(logs, "l", "a");
    for (const followed of [true, false]) {
      const signal = AbortSignal.abort();
      equal(await collect(logs.read("l", 1n, { follow: followed, signal })), []);
    }
  });
}
