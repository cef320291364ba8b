import assert from "node:assert/strict";
import { test } from "vitest";
import { createFiles } from "../../src/client/files.js";
import { sleep } from "../../src/rpc/sleep.js";
import type { BlobInfo, BlobStore, Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { collectGarbage } from "../support/gc.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

const MiB = 1024 ** 2;
/** Random, as compression would hide how much is on its way. */
const BLOCK = crypto.getRandomValues(new Uint8Array(64 * 1024));

/** An engine whose blobs are made up and thrown away, so that no memory is the store's; it counts their bytes. */
function throwaway(size: number, pause = async () => {}) {
  const info = (name: string): BlobInfo => ({ name, size, sha256: "", modifiedMs: 0, metadata: {} });
  const bytes = { in: 0, out: 0 };
  const blobs: BlobStore = {
    async put(name, content) {
      for await (const chunk of content) {
        bytes.in += chunk.length;
        await pause();
      }
      return info(name);
    },
    async get(name) {
      const content = async function* () {
        for (let sent = 0; sent < size; sent += BLOCK.length) {
          bytes.out += BLOCK.length;
          yield BLOCK;
        }
      };
      return { info: info(name), content: content() };
    },
    stat: async (name) => info(name),
    async *list() {},
    delete: async () => true,
  };
  const engine: Engine = { ...memoryEngine(), blobs };
  return { engine, bytes };
}

/** `size` bytes, counted as they are taken. */
function source(size: number) {
  const given = { bytes: 0 };
  const content = async function* () {
    while (given.bytes < size) {
      given.bytes += BLOCK.length;
      yield BLOCK;
    }
  };
  return { given, content: content() };
}

test("200 MiB go up and down in bounded memory", async () => {
  const size = 200 * MiB;
  const { engine, bytes } = throwaway(size);
  await using at = await openInProcess({ engine });
  const files = createFiles(at.transport, "default");
  const used = () => {
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  let most = 0;
  let looks = 0;
  const look = () => {
    if (looks++ % 50 === 0) most = Math.max(most, used() - before);
  };
  await files.put("f", source(size).content, { onProgress: look });
  assert.equal(bytes.in, size);
  let received = 0;
  for await (const piece of (await files.get("f", { onProgress: look })) ?? assert.fail())
    received += piece.length;
  assert.equal(received, size);
  assert.ok(most < 50 * MiB, `${Math.round(most / MiB)} MiB more than before`);
  // How long 400 MiB take is the bench's to say.
}, 60_000);

test("neither side reads ahead of the other by more than a few pieces", async () => {
  const size = 8 * MiB;
  const { given, content } = source(size);
  let ahead = 0;
  const { engine, bytes } = throwaway(size, async () => {
    await sleep(0);
    ahead = Math.max(ahead, given.bytes - bytes.in);
  });
  await using at = await openInProcess({ engine });
  const files = createFiles(at.transport, "default");
  await files.put("f", content);
  assert.ok(ahead <= 4 * BLOCK.length, `put() was ${ahead} bytes ahead`);
  ahead = 0;
  let received = 0;
  for await (const piece of (await files.get("f")) ?? assert.fail()) {
    received += piece.length;
    await sleep(0);
    ahead = Math.max(ahead, bytes.out - received);
  }
  assert.ok(ahead <= 4 * BLOCK.length, `the server was ${ahead} bytes ahead`);
});

forEachProtocol("download", (open) => {
  test("the server waits for a reader that has stopped", async () => {
    const { engine, bytes } = throwaway(1024 * MiB);
    await using at = await open({ engine });
    await using file = await createFiles(at.transport, "default").get("f");
    await file?.stream.getReader().read();
    // Until the buffers on the way are full.
    for (let before = -1; before < bytes.out; await sleep(50)) before = bytes.out;
    assert.ok(bytes.out < 64 * MiB, `${bytes.out} bytes are on the way`);
  });
});

forEachProtocol("upload", (open) => {
  test("put() waits for a server that has stopped reading", async () => {
    const size = 1024 * MiB;
    const { given, content } = source(size);
    let goOn = () => {};
    const stopped = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const { engine } = throwaway(size, () => stopped);
    await using at = await open({ engine });
    const abort = new AbortController();
    const files = createFiles(at.transport, "default");
    const put = assert.rejects(files.put("f", content, { signal: abort.signal }));
    for (let before = 0; given.bytes === 0 || before < given.bytes; await sleep(50)) before = given.bytes;
    assert.ok(given.bytes > 0 && given.bytes < 64 * MiB, `${given.bytes} bytes are on the way`);
    abort.abort();
    await put;
    goOn();
  });
});
