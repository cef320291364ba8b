import assert from "node:assert/strict";
import { Code, createClient } from "@connectrpc/connect";
import { test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { Runtime, SequencerOptions_AutoIncrement } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { createSequencer } from "../../src/client/sequencer.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { ServerOptions } from "../../src/server/server.js";
import { openInProcess } from "../support/protocols.js";
import { failure } from "./failure.js";

const { WEAK, STRONG } = SequencerOptions_AutoIncrement;
const storeName = "default";

async function open(options?: ServerOptions) {
  const at = await openInProcess(options);
  const runtime = createClient(Runtime, at.transport);
  /** The id, and what the answer says of a block. */
  const block = async (key: string, count?: string, increment?: typeof WEAK | typeof STRONG) => {
    let confirmed: string | null = null;
    const onHeader = (headers: Headers) => {
      confirmed = headers.get("fairlead-id-count");
    };
    const metadata: Record<string, string> = count === undefined ? {} : { count };
    const options = increment === undefined ? {} : { options: { increment } };
    const { nextId } = await runtime.getNextId({ storeName, key, metadata, ...options }, { onHeader });
    return { first: nextId, confirmed };
  };
  const next = async (key: string, increment?: typeof WEAK | typeof STRONG) =>
    (await block(key, undefined, increment)).first;
  return { ...at, runtime, next, block };
}

test("GetNextId: STRONG strictly increases across all clients and servers", async () => {
  const engine = memoryEngine();
  await using one = await open({ engine });
  await using two = await open({ engine });
  let last = 0n;
  for (let i = 0; i < 40; i++) {
    const at = i % 3 === 0 ? one : two;
    if (i % 5 === 0) {
      const weak = await at.next("a", WEAK);
      if (weak > last) last = weak;
      continue;
    }
    const id = i % 7 === 0 ? (await at.block("a", "3", STRONG)).first : await at.next("a", STRONG);
    assert.ok(id > last, `${id} after ${last}`);
    last = id;
  }
});

test("GetNextId: WEAK is unique, and comes from a reserved segment", async () => {
  const engine = memoryEngine();
  const config = { sequencer: { default: { segment: 10 } } };
  await using one = await open({ engine, config });
  await using two = await open({ engine, config });
  assert.deepEqual([await one.next("a"), await two.next("a"), await one.next("a")], [1n, 11n, 2n]);
  assert.equal(await two.next("a", STRONG), 21n);
  const ids = await Promise.all(
    Array.from({ length: 100 }, (_, i) => (i % 2 ? one : two).next("a", i % 5 ? WEAK : STRONG)),
  );
  assert.equal(new Set([1n, 2n, 11n, 21n, ...ids]).size, 104);
});

test("GetNextId: biggerThan in the store's configuration is honoured for its key", async () => {
  const config = {
    sequencer: { default: { segment: 10, biggerThan: { a: "41", big: "9007199254740993" } } },
  };
  await using at = await open({ config });
  assert.deepEqual([await at.next("a"), await at.next("a"), await at.next("a", STRONG)], [42n, 43n, 52n]);
  assert.equal((await at.block("big", "2", STRONG)).first, 9007199254740994n);
  assert.equal(await at.next("other"), 1n);
});

test("GetNextId: without the header that confirms a block, the client falls back to single ids", async () => {
  const at = await open();
  const bare = {
    ...at.transport,
    unary: async (...args: Parameters<typeof at.transport.unary>) => {
      const response = await at.transport.unary(...args);
      const header = new Headers(response.header);
      header.delete("fairlead-id-count");
      return { ...response, header };
    },
  } as typeof at.transport;
  const seen: bigint[] = [];
  for await (const id of createSequencer(bare, "default").ids("a", { block: 10, guarantee: "strong" })) {
    if (seen.push(id) === 3) break;
  }
  assert.deepEqual(seen, [1n, 11n, 21n]);
  await at[Symbol.asyncDispose]();
});

test("a limit is hit: resource_exhausted where int64 has no more ids, and for a key that is too long", async () => {
  const most = 2n ** 63n - 1n;
  await using at = await open({ config: { sequencer: { default: { biggerThan: { a: most - 1n } } } } });
  assert.equal((await failure(at.block("a", "2"))).code, Code.ResourceExhausted);
  assert.equal(await at.next("a"), most);
  for (const increment of [WEAK, STRONG]) {
    const error = await failure(at.next("a", increment));
    assert.equal(error.code, Code.ResourceExhausted);
    assert.match(error.rawMessage, /int64 9223372036854775807/);
  }
  const error = await failure(at.next("k".repeat(1025)));
  assert.equal(error.code, Code.ResourceExhausted);
  assert.match(error.rawMessage, /keyBytes 1024/);
});

test("the engine is away: unavailable for an id, with how long to wait", async () => {
  const engine = memoryEngine();
  await using at = await open({ engine });
  await engine.close();
  for (const increment of [WEAK, STRONG]) {
    const error = await failure(at.next("a", increment));
    assert.equal(error.code, Code.Unavailable);
    assert.ok(error.findDetails(RetryInfoSchema)[0]?.retryDelay);
  }
});
