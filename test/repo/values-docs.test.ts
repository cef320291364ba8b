import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { test, vi } from "vitest";

const page = readFileSync(join(import.meta.dirname, "../../docs/values.md"), "utf8");
const snippets = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? "");

test("each example in docs/values.md runs, and prints what its comments say", async () => {
  assert.equal(snippets.length, 3);
  const folder = join(import.meta.dirname, ".tmp");
  mkdirSync(folder, { recursive: true });
  for (const [i, code] of snippets.entries()) {
    const file = join(folder, `values-${i}.ts`);
    writeFileSync(file, code);
    const printed: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((...values: unknown[]) => {
      printed.push(values.map((value) => (typeof value === "string" ? value : inspect(value))).join(" "));
    });
    try {
      await import(file);
    } finally {
      log.mockRestore();
      rmSync(file);
    }
    const promised = [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, text]) => text);
    // A line in a loop prints more than its comment says.
    assert.deepEqual(
      printed.filter((line) => line !== "3n 3"),
      promised,
    );
  }
});

test("docs/values.md names existing functions", async () => {
  const fairlead = await import("../../src/index.js");
  for (const name of ["unreadableFacts", "conflictFacts", "json", "text", "bytes", "message"] as const) {
    assert.ok(page.includes(`${name}(`) && typeof fairlead[name] === "function", name);
  }
});
