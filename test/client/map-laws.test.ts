import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "vitest";
import { ResponseStatus } from "../../gen/atomix/pb/headers/headers_pb.js";
import { conflictFacts } from "../../src/client/errors.js";
import { createMap, type VersionedMap } from "../../src/client/map.js";
import { fakeBackup, live, serveHere } from "../support/map-servers.js";
import { openInProcess } from "../support/protocols.js";

const KEYS = ["a", "b", "c"] as const;
const step = fc.record({
  type: fc.constantFrom("put", "remove", "get"),
  key: fc.constantFrom(...KEYS),
  condition: fc.constantFrom("none", "current", "stale", "absent"),
});
type Step = { type: string; key: string; condition: string };
type Model = Map<string, { value: number; version: bigint }>;

/** The condition that a step sends: a version, "absent", or undefined for none. */
function asked({ type, condition }: Step, current: bigint | undefined): bigint | "absent" | undefined {
  if (condition === "current") return current ?? 777n;
  if (condition === "stale") return 888n;
  return condition === "absent" && type === "put" ? "absent" : undefined;
}

async function take(
  map: VersionedMap<number>,
  { type, key }: Step,
  value: number,
  ask: ReturnType<typeof asked>,
) {
  const condition = ask === "absent" ? { ifAbsent: true } : ask === undefined ? {} : { ifVersion: ask };
  if (type === "get") return map.get(key);
  if (type === "remove") return map.remove(key, ask === "absent" ? {} : condition);
  return map.put(key, value, condition);
}

test("a partition answers every step like a plain map with a counter", async () => {
  await using at = await openInProcess();
  let maps = 0;
  const law = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const map = createMap<number>(at.transport, `m${maps++}`);
    const model: Model = new Map();
    let counter = 0n;
    for (const [value, step] of steps.entries()) {
      const present = model.get(step.key);
      const entry = present && { key: step.key, ...present };
      const ask = asked(step, present?.version);
      const held = ask === undefined || (ask === "absent" ? !present : present?.version === ask);
      const answer = take(map, step, value, ask);
      if (step.type === "get") {
        assert.deepEqual(await answer, entry);
      } else if (!held) {
        const facts = conflictFacts(await answer.catch((error: unknown) => error));
        assert.deepEqual([facts?.key, facts?.version], [step.key, present?.version ?? 0n]);
      } else if (step.type === "put") {
        assert.equal(await answer, ++counter);
        model.set(step.key, { value, version: counter });
      } else {
        if (present) counter++;
        assert.deepEqual(await answer, entry);
        model.delete(step.key);
      }
    }
  });
  await fc.assert(law, { numRuns: 30 });
});

test("concurrent steps are linearizable in the order of their versions", async () => {
  await using one = await openInProcess();
  let maps = 0;
  const law = fc.asyncProperty(
    fc.array(fc.array(step, { maxLength: 8 }), { maxLength: 8 }),
    async (rounds) => {
      const map = createMap<number>(one.transport, `m${maps++}`);
      const model: Model = new Map();
      let values = 0;
      for (const round of rounds) {
        const before = new Map(model);
        const done = await Promise.all(
          round.map(async (step) => {
            const value = values++;
            const ask = asked(step, before.get(step.key)?.version);
            const answer = await take(map, step, value, ask).catch((error: unknown) => error);
            return { step, value, ask, answer };
          }),
        );
        const puts = done.flatMap(({ answer, ...rest }) =>
          typeof answer === "bigint" ? [{ ...rest, version: answer }] : [],
        );
        // A removal returns the version that it removed: it came after that put, and before the next one of the key.
        const removed = new Set(
          done.flatMap(({ step, answer }) =>
            step.type === "remove" && answer && !(answer instanceof Error)
              ? [(answer as { version: bigint }).version]
              : [],
          ),
        );
        for (const { step, value, ask, version } of puts.toSorted((a, b) => Number(a.version - b.version))) {
          const present = model.get(step.key);
          if (typeof ask === "bigint") assert.equal(present?.version, ask);
          if (ask === "absent") assert.ok(!present || removed.has(present.version));
          model.set(step.key, { value, version });
        }
        for (const [key, { version }] of model) if (removed.has(version)) model.delete(key);
        for (const key of KEYS) {
          const present = model.get(key);
          assert.deepEqual(await map.get(key), present && { key, ...present });
        }
      }
    },
  );
  await fc.assert(law, { numRuns: 30 });
});

test("a backup has the entries of its primary after messages were lost, repeated and reordered", async () => {
  const rounds = fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 });
  const law = fc.asyncProperty(
    rounds,
    fc.array(fc.nat(), { maxLength: 12 }),
    fc.nat(),
    async (rounds, early, turn) => {
      const recorded = fakeBackup();
      await using primary = serveHere({ backups: ["http://backup"] }, { dial: () => recorded.transport });
      for (const [i, round] of rounds.entries()) {
        await Promise.allSettled(
          round.map((step, j) =>
            take(primary.map, step, i * 10 + j, step.condition === "absent" ? "absent" : undefined),
          ),
        );
      }
      const all = recorded.requests;
      const [first] = all;
      if (!first) return;
      // First some messages in any order and number, then all of them, from a random one on and backwards.
      const shuffled = [...all.slice(turn % all.length), ...all.slice(0, turn % all.length)].toReversed();
      const deliveries = [...early.map((i) => all[i % all.length] ?? first), ...shuffled];
      await using backup = serveHere({ primary: "http://primary" });
      for await (const { header } of backup.wire.backup(streamOf(deliveries))) {
        assert.equal(header?.status, ResponseStatus.OK);
      }
      assert.deepEqual(await live(backup.engine), await live(primary.engine));
    },
  );
  await fc.assert(law, { numRuns: 25 });
});

async function* streamOf<T>(items: readonly T[]) {
  yield* items;
}
