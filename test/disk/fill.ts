import { collect } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { commitWrites, set } from "../../src/conformance/engine/writes.js";
import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import type { LogStore } from "../../src/server/engine.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";

/** Small, so that little data makes tables, compactions and segments. */
export const SMALL = { memtableBytes: 64 * 1024, segmentBytes: 16 * 1024 };

/** Makes a folder with data of every port, in tables, segments and files. */
export async function fill(data: string): Promise<string> {
  await using engine = await openDiskEngine({ folder: data, ...SMALL });
  for (let i = 0; i < 300; i += 60) {
    const names = Array.from({ length: 60 }, (_, j) => `k${i + j}`);
    await Promise.all(names.map((name) => commitWrites(engine.keys, set(name, "x".repeat(500)))));
  }
  for (let i = 0; i < 100; i += 10) {
    await engine.logs.append(
      "l",
      Array.from({ length: 10 }, (_, j) => patternBytes(500, i + j)),
    );
  }
  engine.topics.consume("t", "g", AbortSignal.abort());
  await engine.topics.publish("t", [utf8("1")]);
  const content = async function* () {
    yield patternBytes(50_000);
  };
  await engine.blobs.put("b", content(), { metadata: {}, ifAbsent: false });
  return data;
}

export async function texts(logs: LogStore, log: string, from = 1n): Promise<string[]> {
  const batches = await collect(logs.read(log, from, { follow: false, signal: neverAborts() }));
  return batches.flat().map(({ value }) => fromUtf8(value));
}
