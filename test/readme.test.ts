import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { test, vi } from "vitest";
import { createServer, VERSION } from "../src/server/index.js";
import { nodePlatform } from "../src/server/node.js";

const root = join(import.meta.dirname, "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const snippets = (language: string) =>
  [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, is]) => is === language)
    .map(([, , code]) => code ?? "");

/** What each `console.log(…); // …` of a snippet says that it prints; a comma between them is a line of its own. */
const promised = (code: string) =>
  [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].flatMap(([, text]) => text?.split(", ") ?? []);

test("each TypeScript snippet of the README runs, and prints what its comments say", async () => {
  const folder = join(import.meta.dirname, ".tmp");
  mkdirSync(folder, { recursive: true });
  const all = snippets("ts");
  assert.ok(all.length > 0);
  for (const [i, code] of all.entries()) {
    const file = join(folder, `readme-${i}.ts`);
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
    assert.deepEqual(printed, promised(code));
  }
});

test("each JSON snippet of the README is a configuration that the server takes", async () => {
  const platform = { ...nodePlatform, env: { ADMIN_TOKEN: "a-token-of-the-environment" } };
  for (const code of snippets("json"))
    await createServer({ config: JSON.parse(code) as object, platform }).close();
});

test("the server tells the version of the package", () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  assert.equal(VERSION, version);
});
