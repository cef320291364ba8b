import assert from "node:assert/strict";
import { beforeAll, describe, test } from "vitest";
import { formatViolations } from "./report.js";
import { simulate } from "./simulation.js";
import { bundleProgram } from "./world/bundle.js";
import { compileRealm } from "./world/realm.js";
import { loadRealms, type Realms } from "./world.js";

/** The number of seeds, more in the nightly run. MAP_SEED runs one seed only. */
const SEEDS = Number(process.env["MAP_SEEDS"] ?? 100);
const ONE = process.env["MAP_SEED"];
const seeds = ONE === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONE)];

/** How many seeds one test runs. */
const SEEDS_PER_TEST = 25;

/** The time that one seed may take on a busy machine. */
const SEED_MS = 10_000;

describe("three servers and four clients, with faults, in virtual time", () => {
  let realms: Realms;
  beforeAll(async () => {
    realms = loadRealms(compileRealm(await bundleProgram()));
  });

  for (let i = 0; i < seeds.length; i += SEEDS_PER_TEST) {
    const some = seeds.slice(i, i + SEEDS_PER_TEST);
    test(`every key is linearizable and versions never go back: seeds ${some[0]} to ${some.at(-1)}`, {
      timeout: some.length * SEED_MS,
    }, async () => {
      for (const seed of some) {
        const result = await simulate(realms, seed);
        assert.ok(result.violations.length === 0, formatViolations(result));
        const known = result.operations.filter(({ output }) => output).length;
        assert.ok(known > 100, `seed ${seed}: only ${known} calls had an outcome`);
      }
    });
  }

  test("a seed repeats every call, answer and log line", async () => {
    const seed = seeds[0] ?? 1;
    const first = await simulate(realms, seed);
    const other = await simulate(realms, seed + 1);
    const again = await simulate(realms, seed);
    assert.equal(again.digest, first.digest);
    assert.notEqual(other.digest, first.digest);
  });
});
