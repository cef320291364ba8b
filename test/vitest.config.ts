import { defineConfig } from "vitest/config";

export default defineConfig({
  // Node 20 has no `using` of its own.
  oxc: { target: "es2022" },
  test: { root: import.meta.dirname, include: ["**/*.test.ts"], testTimeout: 20_000 },
});
