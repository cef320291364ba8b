import assert from "node:assert/strict";
import {
  Code,
  ConnectError,
  createClient,
  createContextValues,
  createRouterTransport,
} from "@connectrpc/connect";
import fc from "fast-check";
import { test } from "vitest";
import { Runtime, SequencerOptions_AutoIncrement } from "../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { withRetry } from "../../src/client/retry.js";
import { createSequencer, type NextOptions } from "../../src/client/sequencer.js";
import { Components } from "../../src/server/config/components.js";
import { parseConfig } from "../../src/server/config/config.js";
import type { Engine } from "../../src/server/engine.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import { sequencerService } from "../../src/server/services/sequencer.js";
import { intercept } from "../support/intercept.js";
import { forEachProtocol, openInProcess } from "../support/protocols.js";

const strong: NextOptions = { guarantee: "strong" };

/** The first `many` of `ids`. */
async function take(many: number, ids: AsyncIterable<bigint>): Promise<bigint[]> {
  const taken: bigint[] = [];
  for await (const id of ids) if (taken.push(id) === many) break;
  return taken;
}

/** The whole numbers from `first` on. */
const run = (first: bigint, many: number): bigint[] =>
  Array.from({ length: many }, (_, i) => first + BigInt(i));

forEachProtocol("unary", (open) => {
  test("next() starts at 1n, and sequences are independent", async () => {
    await using at = await open();
    const sequencer = createSequencer(at.transport, "default");
    assert.deepEqual([await sequencer.next("a"), await sequencer.next("a")], [1n, 2n]);
    assert.equal(await sequencer.next("b || 钥匙 🔑"), 1n);
    assert.deepEqual([await sequencer.next("s", strong), await sequencer.next("s", strong)], [1n, 2n]);
  });

  test("ids() needs one request for each block", async () => {
    await using at = await open();
    let requests = 0;
    const counted = intercept(at.transport, ({ send }) => {
      requests++;
      return send();
    });
    const sequencer = createSequencer(counted, "default");
    assert.deepEqual(await take(250, sequencer.ids("a", { block: 100, guarantee: "strong" })), run(1n, 250));
    assert.equal(requests, 3);
    assert.deepEqual(await take(3, sequencer.ids("a")), run(301n, 3));
    assert.equal(await sequencer.next("a", strong), 1301n);
  });
});

test("64 concurrent strong next() calls get different ids, without gaps, in few commits", async () => {
  const { engine, commits } = counting(memoryEngine());
  await using at = await openInProcess({ engine });
  const sequencers = Array.from({ length: 64 }, () => createSequencer(at.transport, "default"));
  const ids = await Promise.all(sequencers.map((sequencer) => sequencer.next("a", strong)));
  assert.deepEqual(new Set(ids), new Set(run(1n, 64)));
  assert.ok(commits() <= 4, `${commits()}`);
});

test("64 concurrent weak next() calls share one reservation", async () => {
  const { engine, commits } = counting(memoryEngine());
  await using at = await openInProcess({ engine });
  const sequencer = createSequencer(at.transport, "default");
  const ids = await Promise.all(Array.from({ length: 64 }, () => sequencer.next("a")));
  assert.deepEqual(new Set(ids), new Set(run(1n, 64)));
  assert.equal(commits(), 1);
});

test("strong ids grow for each caller while weak and strong callers of several servers race", async () => {
  const engine = memoryEngine();
  const config = { sequencer: { default: { segment: 7 } } };
  await using one = await openInProcess({ engine, config });
  await using two = await openInProcess({ engine, config });
  const all: bigint[] = [];
  const caller = async (n: number) => {
    const sequencer = createSequencer((n % 2 === 0 ? one : two).transport, "default");
    let last = 0n;
    for (let i = 0; i < 16; i++) {
      const guarantee = (n + i) % 3 === 0 ? "weak" : "strong";
      const id = await sequencer.next("a", { guarantee });
      if (guarantee === "strong") assert.ok(id > last, `${id} after ${last}`);
      if (guarantee === "strong") last = id;
      all.push(id);
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, n) => caller(n)));
  assert.equal(new Set(all).size, 64 * 16);
});

test("any concurrent requests: no id twice, blocks without gaps, strong ids above all earlier ones", async () => {
  const request = fc.record({
    server: fc.nat({ max: 1 }),
    guarantee: fc.constantFrom("strong" as const, "weak" as const),
    count: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
  });
  const waves = fc.array(fc.array(request, { minLength: 1, maxLength: 8 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(waves, fc.integer({ min: 1, max: 20 }), async (waves, segment) => {
      const engine = memoryEngine();
      const config = { sequencer: { default: { segment } } };
      await using one = await openInProcess({ engine, config });
      await using two = await openInProcess({ engine, config });
      const servers = [one, two].map(({ transport }) => createSequencer(transport, "default"));
      const given = new Set<bigint>();
      let highest = 0n;
      for (const wave of waves) {
        const answers = await Promise.all(
          wave.map(async ({ server, guarantee, count }) => {
            const sequencer = servers[server] ?? assert.fail();
            if (count === undefined) return [await sequencer.next("a", { guarantee })];
            const ids = await take(count, sequencer.ids("a", { guarantee, block: count }));
            assert.deepEqual(ids, run(ids[0] ?? 0n, count));
            return ids;
          }),
        );
        for (const [i, ids] of answers.entries()) {
          if (wave[i]?.guarantee === "strong") assert.ok(ids.every((id) => id > highest));
          for (const id of ids) assert.ok(!given.has(id) && given.add(id), `${id} twice`);
        }
        for (const id of given) if (id > highest) highest = id;
      }
    }),
    { numRuns: 60 },
  );
});

test("a restarted server gives no id twice", async () => {
  const engine = memoryEngine();
  const next = async () => createSequencer((await openInProcess({ engine })).transport, "default").next("a");
  assert.deepEqual([await next(), await next(), await next()], [1n, 1001n, 2001n]);
});

test("sequences beyond limits.sequences cost others only the rest of their segment", async () => {
  await using at = await openInProcess({ config: { limits: { sequences: 10 } } });
  const sequencer = createSequencer(at.transport, "default");
  const next = (n: number) => sequencer.next(`k${n}`);
  for (let n = 0; n < 10; n++) assert.equal(await next(n), 1n);
  assert.deepEqual([await next(0), await next(10), await next(0), await next(1)], [2n, 1n, 3n, 1001n]);
});

test("biggerThan applies to its key, also if it is raised while ids are reserved", async () => {
  const config = parseConfig({ sequencer: { default: { segment: 10, biggerThan: { a: "100" } } } });
  const components = new Components(config);
  const { signal: closing } = new AbortController();
  const service = sequencerService({ engine: memoryEngine(), components, limits: config.limits, closing });
  const sequencer = createSequencer(
    createRouterTransport((router) => router.service(Runtime, service)),
    "default",
  );
  assert.deepEqual([await sequencer.next("a"), await sequencer.next("a", strong)], [101n, 111n]);
  for (const key of ["b", "constructor", "__proto__"]) assert.equal(await sequencer.next(key), 1n);
  components.replace("sequencer", "default", { segment: 10, biggerThan: { a: "104", b: "3" } });
  assert.deepEqual([await sequencer.next("a"), await sequencer.next("a")], [105n, 106n]);
  assert.deepEqual([await sequencer.next("b"), await sequencer.next("b", strong)], [4n, 11n]);
  components.replace("sequencer", "default", { segment: 10, biggerThan: { a: "5000" } });
  assert.deepEqual([await sequencer.next("a"), await sequencer.next("a", strong)], [5001n, 5011n]);
});

test("the last id is 2^63 - 1: requests beyond it fail with Code.ResourceExhausted, and those that fit do not", async () => {
  const last = 2n ** 63n - 1n;
  const config = { sequencer: { default: { biggerThan: { a: last - 5n, weak: last - 2n } } } };
  await using at = await openInProcess({ config });
  const sequencer = createSequencer(at.transport, "default");
  const block = (block: number) => take(block, sequencer.ids("a", { block }));
  const [first, tooMany, second] = await Promise.allSettled([block(2), block(4), block(3)]);
  assert.deepEqual(first, { status: "fulfilled", value: [last - 4n, last - 3n] });
  assert.equal((tooMany as PromiseRejectedResult).reason.code, Code.ResourceExhausted);
  assert.deepEqual(second, { status: "fulfilled", value: [last - 2n, last - 1n, last] });
  await assert.rejects(sequencer.next("a", strong), { code: Code.ResourceExhausted });
  assert.deepEqual([await sequencer.next("weak"), await sequencer.next("weak")], [last - 1n, last]);
  await assert.rejects(sequencer.next("weak"), { code: Code.ResourceExhausted });
});

test("next() is retried if its answer was lost, which loses only an id", async () => {
  await using at = await openInProcess();
  let losses = 2;
  const lossy = intercept(at.transport, async ({ send }) => {
    const answer = await send();
    if (losses-- > 0) throw new ConnectError("the connection was lost", Code.Unavailable);
    return answer;
  });
  const sequencer = createSequencer(withRetry(lossy, { minDelayMs: 1 }), "default");
  assert.equal(await sequencer.next("a", strong), 3n);
});

test("next() does not change the caller's context values", async () => {
  await using at = await openInProcess();
  let tries = 0;
  const lossy = intercept(at.transport, async ({ method, send }) => {
    if (method !== "TryLock") return send();
    tries++;
    throw new ConnectError("the connection was lost", Code.Unavailable);
  });
  const transport = withRetry(lossy, { minDelayMs: 1 });
  const contextValues = createContextValues();
  await createSequencer(transport, "default").next("a", { contextValues });
  const lock = { storeName: "default", resourceId: "r", lockOwner: "me", expire: 1 };
  await assert.rejects(createClient(Runtime, transport).tryLock(lock, { contextValues }));
  assert.equal(tries, 1);
});

test("a failed reservation fails the calls that wait for it, and the next one succeeds", async () => {
  const engine = memoryEngine();
  let away = true;
  const keys = Object.create(engine.keys) as Engine["keys"];
  keys.get = (key) => engine.keys.get(key);
  keys.list = (prefix) => engine.keys.list(prefix);
  keys.watch = (prefix, signal) => engine.keys.watch(prefix, signal);
  keys.commit = async (writes) => {
    if (away) throw new ConnectError("away", Code.Unavailable);
    return engine.keys.commit(writes);
  };
  await using at = await openInProcess({ engine: { ...engine, keys } });
  const sequencer = createSequencer(at.transport, "default");
  const failed = await Promise.allSettled(
    [...run(0n, 8)].map((n) => sequencer.next("a", n % 2n ? strong : {})),
  );
  assert.ok(failed.every(({ status }) => status === "rejected"));
  away = false;
  assert.deepEqual([await sequencer.next("a", strong), await sequencer.next("a")], [1n, 2n]);
});

test("ids() requests each id from a server without blocks", async () => {
  let last = 41n;
  const go = createRouterTransport((router) =>
    router.service(Runtime, { getNextId: () => ({ nextId: ++last }) }),
  );
  assert.deepEqual(await take(3, createSequencer(go, "redis").ids("a", { block: 10 })), [42n, 43n, 44n]);
});

test("ids() ends with Code.Canceled when its signal aborts, even within a block", async () => {
  await using at = await openInProcess();
  const enough = new AbortController();
  const seen: bigint[] = [];
  const loop = async () => {
    for await (const id of createSequencer(at.transport, "default").ids("a", { signal: enough.signal })) {
      if (seen.push(id) === 3) enough.abort();
    }
  };
  await assert.rejects(loop(), { code: Code.Canceled });
  assert.deepEqual(seen, [1n, 2n, 3n]);
});

test("ids() with an invalid block is a RangeError", async () => {
  await using at = await openInProcess();
  const sequencer = createSequencer(at.transport, "default");
  for (const block of [0, -1, 1.5, 100_001, Number.NaN]) {
    assert.throws(() => sequencer.ids("a", { block }), RangeError);
  }
});

test("next() sends no guarantee by default", async () => {
  await using at = await openInProcess();
  const asked: unknown[] = [];
  const seen = intercept(at.transport, ({ message, send }) => {
    asked.push((message["options"] as { increment?: number } | undefined)?.increment);
    return send();
  });
  const sequencer = createSequencer(seen, "default");
  await sequencer.next("a");
  await sequencer.next("a", { guarantee: "weak" });
  await sequencer.next("a", strong);
  const { WEAK, STRONG } = SequencerOptions_AutoIncrement;
  assert.deepEqual(asked, [undefined, WEAK, STRONG]);
});

/** `engine` with counted commits, each of which takes a turn of the event loop, like one over a network. */
function counting(engine: Engine): { engine: Engine; commits: () => number } {
  let commits = 0;
  const keys = Object.create(engine.keys) as Engine["keys"];
  keys.get = (key) => engine.keys.get(key);
  keys.list = (prefix) => engine.keys.list(prefix);
  keys.watch = (prefix, signal) => engine.keys.watch(prefix, signal);
  keys.commit = async (writes) => {
    commits++;
    await new Promise((resolve) => setTimeout(resolve, 1));
    return engine.keys.commit(writes);
  };
  return { engine: { ...engine, keys }, commits: () => commits };
}
