import { defineConfig } from "vitest/config";

/** Clusters of processes, and faults in them. One file at a time: each uses the whole machine. */
export default defineConfig({
  // Node 20 has no `using` of its own.
  oxc: { target: "es2022" },
  test: {
    root: import.meta.dirname,
    include: ["*.check.ts"],
    testTimeout: 60_000,
    fileParallelism: false,
  },
});
