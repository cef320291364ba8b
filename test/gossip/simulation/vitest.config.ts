import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** The simulation of the gossip map. One file at a time: each uses all processors. */
export default defineConfig({
  // Node 20 has no `using` of its own.
  oxc: { target: "es2022" },
  test: {
    root: import.meta.dirname,
    include: ["*.check.ts"],
    testTimeout: 300_000,
    maxConcurrency: availableParallelism(),
    fileParallelism: false,
  },
});
