import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { build, type Plugin } from "esbuild";
import { test, vi } from "vitest";
import { createServer, VERSION } from "../src/server/index.js";
import { listen, nodePlatform } from "../src/server/node.js";
import { aliases } from "./vitest.config.js";

const root = join(import.meta.dirname, "..");
const readme = readFileSync(join(root, "README.md"), "utf8");
const lifetimes = readFileSync(join(root, "docs/lifetimes.md"), "utf8");
const snippets = (language: string, page = readme) =>
  [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, is]) => is === language)
    .map(([, , code]) => code ?? "");

/** What each `console.log(…); // …` of a snippet says that it prints; a comma between them is a line of its own. */
const promised = (code: string) =>
  [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].flatMap(([, text]) => text?.split(", ") ?? []);

/** A snippet that begins with its file's name is a program of its own, which needs a server. */
const isProgram = (code: string) => /^\/\/ \w+\.ts\b/.test(code);

const folder = join(import.meta.dirname, ".tmp");

test.each([
  ["README.md", readme],
  ["docs/lifetimes.md", lifetimes],
])("each TypeScript snippet of %s runs, and prints what its comments say", async (name, page) => {
  mkdirSync(folder, { recursive: true });
  const all = snippets("ts", page).filter((code) => !isProgram(code));
  assert.ok(all.length > 0);
  for (const [i, code] of all.entries()) {
    // A name of its own: a module is imported once only.
    const file = join(folder, `${name.replace(/\W/g, "-")}-${i}.ts`);
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

test("the programs of the README run beside a server, each in a process of its own, and end by themselves", async () => {
  await using server = await listen(createServer(), { port: 0, graceMs: 0 });
  const [shop = "", caller = ""] = snippets("ts").filter(isProgram);
  /** Starts a program; `ended` has its status and what it printed. */
  const start = async (name: string, code: string) => {
    const outfile = join(folder, `readme-${name}-${process.pid}.mjs`);
    const contents = code.replaceAll("http://localhost:34904", server.url);
    await build({
      stdin: { contents, resolveDir: import.meta.dirname, loader: "ts" },
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "es2022",
      plugins: [fairleadFromSources],
    });
    const child = spawn(process.execPath, [outfile], { stdio: ["ignore", "pipe", "inherit"] });
    let printed = "";
    child.stdout.on("data", (text: Buffer) => void (printed += text));
    const ended = once(child, "close").then(([status]) => {
      rmSync(outfile);
      return { status: status as number | null, printed: printed.trim().split("\n") };
    });
    return { child, ended };
  };
  const serving = await start("shop", shop);
  await once(serving.child.stdout, "data");
  const calling = await start("caller", caller);
  assert.deepEqual(await calling.ended, { status: 0, printed: promised(caller) });
  assert.equal(serving.child.exitCode, null);
  serving.child.kill("SIGTERM");
  assert.deepEqual(await serving.ended, { status: 0, printed: promised(shop) });
});

/** For esbuild: the package by its own name, from its sources, and all others as they are installed. */
const fairleadFromSources: Plugin = {
  name: "fairlead",
  setup({ onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path }) => {
      const alias = aliases.find(({ find }) => find.test(path));
      return alias ? { path: path.replace(alias.find, alias.replacement) } : { path, external: true };
    });
  },
};

test("each JSON snippet of the README is a configuration that the server takes", async () => {
  const platform = { ...nodePlatform, env: { ADMIN_TOKEN: "a-token-of-the-environment" } };
  for (const code of snippets("json"))
    await createServer({ config: JSON.parse(code) as object, platform }).close();
});

test("the server tells the version of the package", () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  assert.equal(VERSION, version);
});
