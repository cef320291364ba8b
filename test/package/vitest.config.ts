import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Packs the package, installs it from the registry's side and builds with it: minutes, and a network. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.check.ts"],
    globalSetup: "packed.ts",
    testTimeout: 300_000,
    hookTimeout: 300_000,
    fileParallelism: false,
    // Of compilers: they take a core each.
    maxConcurrency: availableParallelism(),
  },
});
