import { fromUtf8 } from "../../../lib/utf8.js";
import type { DeclareEngineCase } from "../../engine.js";
import { equal } from "../../expect.js";
import { collect } from "../reader.js";
import { append, follow, texts } from "./read.js";

export function followCases(on: DeclareEngineCase): void {
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

export function followEndCases(on: DeclareEngineCase): void {
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
