import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { seededFaults } from "./seeded-faults.js";
import { simulate } from "./simulation.js";
import { bundleProgram } from "./world/bundle.js";
import { compileRealm } from "./world/realm.js";
import { loadRealms } from "./world.js";

/** The seeds that CI runs without a fault: each fault must be found by one of them. */
const SEEDS = 100;

/** The time that one fault may take on a busy machine. */
const FAULT_MS = 300_000;

describe("the simulation finds that", () => {
  for (const fault of seededFaults) {
    test(fault.description, { timeout: FAULT_MS }, async () => {
      const realms = loadRealms(compileRealm(await bundleProgram(fault)));
      for (let i = 0; i < SEEDS; i++) {
        const seed = ((fault.seed - 1 + i) % SEEDS) + 1;
        const { violations } = await simulate(realms, seed);
        if (violations.length > 0) return;
      }
      assert.fail(`${SEEDS} seeds found no violation`);
    });
  }
});
