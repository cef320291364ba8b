import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "vitest";
import { planOf } from "./plan.js";
import type { SeedResult } from "./run-seeds.js";
import { buildSimulation, runSeeds } from "./seeds.js";
import { simulate } from "./simulate.js";

/** How many seeds run, and the first; GOSSIP_SEED repeats one and makes its plan smaller. */
const ONE = process.env["GOSSIP_SEED"];
const COUNT = ONE === undefined ? Number(process.env["GOSSIP_SEEDS"] ?? 100) : 1;
const FIRST = Number(ONE ?? process.env["GOSSIP_FIRST_SEED"] ?? 0);

/** The time that one seed takes at most on average, with a wide margin. */
const SEED_MS = 3000;

const command = (seed: number) => `GOSSIP_SEED=${seed} npm run test:gossip -- simulation`;

function formatFailure({ seed, violation, smallest }: SeedResult): string {
  const { plan, violation: last, trace } = smallest ?? {};
  const lines = [`seed ${seed}: ${violation}`, `repeat it by: ${command(seed)}`];
  if (!plan) return lines.join("\n");
  const steps = plan.steps.map((step) => `  ${JSON.stringify(step)}`);
  const processes = `${plan.members} members, ${plan.foreignMembers} foreign members, ${plan.servers} servers`;
  return [
    ...lines,
    `the smallest plan: ${processes}`,
    ...steps,
    `its trace, to "${last}"`,
    ...(trace ?? []),
  ].join("\n");
}

test(`${COUNT} seeds from ${FIRST} on: all copies become the one map that the writes lead to`, {
  timeout: 60_000 + COUNT * SEED_MS,
}, async () => {
  const program = await buildSimulation("simulation", []);
  const workers = Math.min(availableParallelism(), COUNT);
  const results: SeedResult[] = [];
  const orders = { end: FIRST + COUNT, step: workers, stopsAtFailure: false, shrinks: true };
  await Promise.all(
    Array.from({ length: workers }, (_, i) =>
      runSeeds(program, { ...orders, first: FIRST + i }, (result) => {
        results.push(result);
        if (results.length % 500 === 0) console.log(`${results.length} of ${COUNT} seeds`);
        // The first failures are enough to work on.
        return results.filter(({ violation }) => violation !== undefined).length >= 5;
      }),
    ),
  );
  const slowest = Math.max(...results.map(({ convergedMs }) => convergedMs || 0));
  const messages = results.reduce((sum, result) => sum + result.messages, 0);
  console.log(
    `${results.length} seeds, ${messages} messages, one map ${slowest} ms after healing at the latest`,
  );
  const failures = results.filter(({ violation }) => violation !== undefined);
  assert.equal(failures.length, 0, failures.map(formatFailure).join("\n\n"));
  assert.equal(results.length, COUNT);
});

test("a seed is the same run each time", async () => {
  const [first, second] = [await simulate(planOf(FIRST)), await simulate(planOf(FIRST))];
  assert.deepEqual(first, second);
});
