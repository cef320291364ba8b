import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { build, type Plugin } from "esbuild";
import { describe, test, vi } from "vitest";
import { createServer, VERSION } from "../../src/server/index.js";
import { type Listening, listen, nodePlatform } from "../../src/server/node.js";
import { aliases } from "../vitest.config.js";

const root = join(import.meta.dirname, "../..");
const folder = join(import.meta.dirname, ".tmp");
const read = (page: string) => readFileSync(join(root, page), "utf8");

/** Every page for users, from the root of the repository on. */
const pages = [
  "README.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((page) => page.endsWith(".md") && !page.startsWith(".vitepress/"))
    .map((page) => `docs/${page}`),
];

/** The snippets of a page in one language. */
const snippets = (page: string, language: string) =>
  [...read(page).matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, is]) => is === language)
    .map(([, , code]) => code ?? "");

/** The lines that a snippet's comments say it prints: behind each console.log(), separated by ", ". */
const promised = (code: string) =>
  [...code.matchAll(/console\.log\(.*\);(?: \})? \/\/ (.*)$/gm)].flatMap(
    ([, text]) => text?.split(", ") ?? [],
  );

/** The JavaScript snippets of a page that are whole programs: those that import what they use. */
const programs = (page: string) => snippets(page, "js").filter((code) => code.startsWith("import "));

/** A TypeScript snippet that begins with the name of its file is a program, which needs a server. */
const isProgram = (code: string) => /^\/\/ \w+\.ts\b/.test(code);

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

/** Starts a program beside `server`; `ended` has its status and the lines that it printed. */
async function start(server: Listening, name: string, code: string) {
  const outfile = join(folder, `docs-${name.replace(/\W/g, "-")}-${process.pid}.mjs`);
  await build({
    stdin: {
      contents: code.replaceAll("http://localhost:34904", server.url),
      resolveDir: import.meta.dirname,
      loader: "ts",
    },
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
}

/** A server with a secret to show, as docs/primitives/secrets.md has it. */
const open = () =>
  listen(createServer({ platform: { ...nodePlatform, env: { FAIRLEAD_SECRET_DB: "hush" } } }), {
    port: 0,
    graceMs: 0,
  });

describe("each program of the documentation prints what its comments say, in a process of its own, and ends", () => {
  for (const page of pages.filter((page) => programs(page).length > 0)) {
    test(page, async () => {
      mkdirSync(folder, { recursive: true });
      await using server = await open();
      for (const [i, code] of programs(page).entries()) {
        const { ended } = await start(server, `${page}-${i}`, code);
        assert.deepEqual(await ended, { status: 0, printed: promised(code) });
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
      assert.deepEqual(printed, promised(code));
    }
  },
);

test("an app and its caller run in processes of their own, and end by themselves", async () => {
  mkdirSync(folder, { recursive: true });
  await using server = await open();
  const [shop = "", caller = ""] = snippets("docs/primitives/service.md", "ts").filter(isProgram);
  const serving = await start(server, "shop", shop);
  await once(serving.child.stdout, "data");
  const calling = await start(server, "caller", caller);
  assert.deepEqual(await calling.ended, { status: 0, printed: promised(caller) });
  assert.equal(serving.child.exitCode, null);
  serving.child.kill("SIGTERM");
  assert.deepEqual(await serving.ended, { status: 0, printed: promised(shop) });
});

test("each JSON snippet of docs/server.md is a configuration that the server takes", async () => {
  const [first, ...rest] = snippets("docs/server.md", "json");
  assert.ok(first);
  for (const code of [first, ...rest])
    await createServer({ config: JSON.parse(code) as object, platform: nodePlatform }).close();
});

test("the server tells the version of the package", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  assert.equal(VERSION, version);
});
