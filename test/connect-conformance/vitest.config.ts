import { defineConfig } from "vitest/config";

/** Connect's conformance runner against our programs. It takes minutes, and Go to build the runner. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.check.ts"],
    testTimeout: 300_000,
    fileParallelism: false,
  },
});
