import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, test, vi } from "vitest";
import { createServer, VERSION } from "../../src/server/index.js";
import { nodePlatform } from "../../src/server/node.js";
import { openServer, startSnippet } from "../support/snippet-process.js";
import { expectedOutput, pages, read, snippets } from "../support/snippets.js";

const folder = join(import.meta.dirname, ".tmp");

/** The JavaScript snippets of a page that are whole programs: those that import what they use. */
const programs = (page: string) => snippets(page, "js").filter((code) => code.startsWith("import "));

/** A TypeScript snippet that begins with the name of its file is a program, which needs a server. */
const isProgram = (code: string) => /^\/\/ \w+\.ts\b/.test(code);

describe("each program of the documentation prints what its comments say, in a process of its own, and ends", () => {
  for (const page of pages.filter((page) => programs(page).length > 0)) {
    test(page, async () => {
      await using server = await openServer();
      for (const [i, code] of programs(page).entries()) {
        const { ended } = await startSnippet(server, `${page}-${i}`, code);
        assert.deepEqual(await ended, { status: 0, printed: expectedOutput(code) });
      }
    });
  }
});

// docs/values.md has a test of its own, as a loop of it prints more than its comment can say.
const inTypeScript = pages.filter((page) => page !== "docs/values.md" && snippets(page, "ts").length > 0);

test.each(inTypeScript)(
  "each TypeScript snippet of %s runs, and prints what its comments say",
  async (page) => {
    mkdirSync(folder, { recursive: true });
    for (const [i, code] of snippets(page, "ts").entries()) {
      if (isProgram(code)) continue;
      // A name of its own: a module is loaded once.
      const file = join(folder, `${page.replace(/\W/g, "-")}-${i}.ts`);
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
      assert.equal(printed.join(", "), expectedOutput(code));
    }
  },
);

test("an app and its caller run in processes of their own, and end by themselves", async () => {
  await using server = await openServer();
  const [shop = "", caller = ""] = snippets("docs/primitives/service.md", "ts").filter(isProgram);
  const serving = await startSnippet(server, "shop", shop);
  await once(serving.child.stdout, "data");
  const calling = await startSnippet(server, "caller", caller);
  assert.deepEqual(await calling.ended, { status: 0, printed: expectedOutput(caller) });
  assert.equal(serving.child.exitCode, null);
  serving.child.kill("SIGTERM");
  assert.deepEqual(await serving.ended, { status: 0, printed: expectedOutput(shop) });
});

test("each JSON snippet of docs/server.md is a configuration that the server accepts", async () => {
  const [first, ...rest] = snippets("docs/server.md", "json");
  assert.ok(first);
  for (const code of [first, ...rest])
    await createServer({ config: JSON.parse(code) as object, platform: nodePlatform }).close();
});

test("VERSION is the version of the package", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  assert.equal(VERSION, version);
});
