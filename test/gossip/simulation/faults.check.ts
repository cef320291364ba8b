import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { SEEDED_FAULTS } from "./faults.js";
import type { SeedResult } from "./run-seeds.js";
import { buildSimulation, runSeeds } from "./seeds.js";

/** The seeds of CI, within which each fault must be found. Without a fault, none of them fails: see simulation.check.ts. */
const SEEDS = 100;

describe("the simulation finds that", () => {
  test.concurrent.each(SEEDED_FAULTS.map((fault, i) => ({ ...fault, i })))("$name", async (fault) => {
    const program = await buildSimulation(`fault-${fault.i}`, [fault]);
    const found: SeedResult[] = [];
    const run = (first: number, end: number) =>
      runSeeds(program, { first, end, step: 1, stopsAtFailure: true, shrinks: false }, (result) => {
        if (result.violation !== undefined) found.push(result);
        return undefined;
      });
    await run(fault.seed, fault.seed + 1);
    if (found.length === 0) await run(0, SEEDS);
    const [first] = found;
    assert.ok(first, `no violation within ${SEEDS} seeds`);
    console.log(
      `${fault.name}: seed ${first.seed}, ${first.violation?.replace(/\.{5,}/g, "…").slice(0, 250)}`,
    );
  });
});
