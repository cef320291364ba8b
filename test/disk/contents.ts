import { collect, reader } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";

import { fromUtf8 } from "../../src/lib/utf8.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";
import { SMALL, texts } from "./fill.js";

/** Everything in a folder that fill() has made. Throws if any of it is damaged. */
export async function contents(data: string) {
  await using engine = await openDiskEngine({ folder: data, ...SMALL });
  const { keys, logs, topics, blobs } = engine;
  const blob = await blobs.get("b");
  if (!blob) throw new Error("the blob is missing");
  const entries = await collect(keys.list(""));
  const event = await reader(topics.consume("t", "g", neverAborts())).next();
  const plain = entries.map(({ key, value }) => `${key}=${fromUtf8(value)}`);
  const single = await Promise.all(
    entries.map(async ({ key }) => `${key}=${fromUtf8((await keys.get(key))?.value ?? new Uint8Array())}`),
  );
  const { first, next } = await logs.bounds("l");
  return {
    entries: plain,
    single,
    records: await texts(logs, "l"),
    bounds: [Number(first), Number(next)],
    blob: Buffer.concat(await collect(blob.content)).toString("base64"),
    event: fromUtf8(event.value),
  };
}
