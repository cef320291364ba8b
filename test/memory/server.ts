/** A server in a process of its own, which tells how its memory grows. */
import { sleep } from "../../src/rpc/sleep.js";
import type { BlobInfo, BlobStore, Engine, LogStore } from "../../src/server/engine.js";
import { createServer, memoryEngine } from "../../src/server/index.js";
import { listen, nodePlatform } from "../../src/server/node.js";

const MiB = 1024 ** 2;
/** Random, as compression would hide how much is on its way. */
const BLOCK = crypto.getRandomValues(new Uint8Array(64 * 1024));

const info = (name: string): BlobInfo => ({ name, size: 200 * MiB, sha256: "", modifiedMs: 0, metadata: {} });
const taken = { bytes: 0 };

/** Makes up what is read, and takes what is written at 1 MB a second: no memory is the store's. */
const blobs: BlobStore = {
  async put(name, content) {
    for await (const { length } of content) {
      taken.bytes += length;
      await sleep(length / 1000);
    }
    return info(name);
  },
  async get(name) {
    const content = async function* () {
      for (let sent = 0; sent < 200 * MiB; sent += BLOCK.length) {
        taken.bytes += BLOCK.length;
        yield BLOCK;
      }
    };
    return { info: info(name), content: content() };
  },
  stat: async (name) => info(name),
  async *list() {},
  delete: async () => true,
};

const memory = memoryEngine({ maxBacklogBytes: 8 * MiB });
const logs: LogStore = {
  ...bound(memory.logs),
  async append(_, values) {
    for (const { length } of values) taken.bytes += length;
    await sleep(values.reduce((sum, { length }) => sum + length, 0) / 1000);
    return { first: 1n, last: BigInt(values.length) };
  },
  async *read() {
    for (let offset = 1n; ; offset++) {
      taken.bytes += BLOCK.length;
      yield [{ offset, timestampMs: 0, value: BLOCK }];
    }
  },
};

/** An engine's port whose methods can be spread. */
function bound(port: LogStore): LogStore {
  return {
    append: (...args) => port.append(...args),
    read: (...args) => port.read(...args),
    bounds: (...args) => port.bounds(...args),
    seek: (...args) => port.seek(...args),
    retain: (...args) => port.retain(...args),
  };
}

const engine: Engine = { ...memory, blobs, logs };
const server = createServer({ engine, platform: nodePlatform });
const { url } = await listen(server, { port: 0 });

/** What the process has of the machine, and what of that is in use. */
const used = () => {
  const { rss, external, heapUsed } = process.memoryUsage();
  return { rss, held: external + heapUsed };
};
let before = used();
let peak = 0;
setInterval(() => {
  peak = Math.max(peak, used().rss);
}, 20);

/** What is in use once the collector finds nothing more: it frees the bytes of buffers some time after the buffers. */
async function settled() {
  let now = used();
  for (let still = 0; still < 5; ) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const next = used();
    still = next.held < now.held - MiB / 4 ? 0 : still + 1;
    if (next.held < now.held) now = next;
  }
  return now;
}

process.on("message", async (asked) => {
  const now = await settled();
  if (asked === "begin") {
    before = now;
    peak = now.rss;
    taken.bytes = 0;
    process.send?.({});
  } else {
    const rss = (Math.max(peak, now.rss) - before.rss) / MiB;
    process.send?.({ rss, held: (now.held - before.held) / MiB, taken: taken.bytes / MiB });
  }
});
process.on("disconnect", () => process.exit());
process.send?.({ url });
