import { join } from "node:path";
import { defineConfig } from "vitest/config";

const src = join(import.meta.dirname, "../src");

/** The package by its own name, from its sources: for the README's snippets and the pages. */
export const aliases = [
  { find: /^fairlead\/(web|node|tunnel|app|otel)$/, replacement: join(src, "$1.ts") },
  { find: /^fairlead\/conformance$/, replacement: join(src, "conformance/index.ts") },
  { find: /^fairlead\/server\/disk$/, replacement: join(src, "server/disk.ts") },
  { find: /^fairlead\/server\/jetstream$/, replacement: join(src, "server/jetstream.ts") },
  { find: /^fairlead\/server\/node$/, replacement: join(src, "server/node.ts") },
  { find: /^fairlead\/server$/, replacement: join(src, "server/index.ts") },
  { find: /^fairlead$/, replacement: join(src, "index.ts") },
];

export default defineConfig({
  // Node 20 has no `using` of its own.
  oxc: { target: "es2022" },
  resolve: { alias: aliases },
  test: {
    root: import.meta.dirname,
    include: ["**/*.test.ts"],
    testTimeout: 20_000,
    maxConcurrency: 12,
    maxWorkers: "100%",
  },
});
