import { defineConfig } from "vitest/config";

/** The simulation of the versioned map's primaries and backups. Its files run side by side, each in a process. */
export default defineConfig({
  // Node 20 has no `using` of its own.
  oxc: { target: "es2022" },
  test: {
    root: import.meta.dirname,
    include: ["*.check.ts"],
    testTimeout: 60_000,
    pool: "forks",
    // Most objects of a simulation live for one call.
    execArgv: ["--max-semi-space-size=64"],
  },
});
