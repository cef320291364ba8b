import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Packs the package, installs it and builds with it. This takes minutes and needs the npm registry. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.check.ts"],
    globalSetup: "packed.ts",
    testTimeout: 300_000,
    hookTimeout: 300_000,
    fileParallelism: false,
    // Compilers run in parallel: each uses one core.
    maxConcurrency: availableParallelism(),
  },
});
