import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "vitest";
import { publicDeclarations } from "../support/snippets.js";

const src = join(import.meta.dirname, "../../src");
const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

/** What only runs on Node; the compiler holds the rest to it with `.ci/isomorphic.json`. */
const { exclude } = JSON.parse(
  readFileSync(join(src, "../.ci/isomorphic.json"), "utf8").replace(/^\s*\/\/.*$/gm, ""),
) as { exclude: string[] };
const onNode = (file: string) => exclude.some((path) => `../src/${file}`.startsWith(path));

/** The floor that a file of src/ belongs to: its folder, or the entry points beside the folders. */
const floorOf = (file: string): string => (file.includes("/") ? (file.split("/")[0] ?? "") : "entry");

/** Which floors each floor may import, besides itself and gen/. */
const MAY: Record<string, string[]> = {
  lib: [],
  rpc: ["lib"],
  gossip: ["lib"],
  tunnel: ["lib", "rpc"],
  "node-http": ["lib", "rpc"],
  transport: ["lib", "rpc", "tunnel", "node-http", "client"],
  client: ["lib", "rpc", "gossip", "transport"],
  entry: ["rpc", "client", "transport", "tunnel"],
  server: ["lib", "rpc", "gossip", "tunnel", "node-http"],
  conformance: ["lib", "rpc", "client", "entry", "server"],
  cli: ["lib", "entry", "server", "conformance"],
};

/** The modules that `file` imports, also by import() and typeof import(). */
const importsOf = (file: string): string[] =>
  [
    ...readFileSync(join(src, file), "utf8").matchAll(
      /^(?:import|export)\s[^;]*?from "([^"]+)"|\bimport\("([^"]+)"\)/gm,
    ),
  ].map((match) => match[1] ?? match[2] ?? "");

/** Each import of one file of src/ by another. */
const imports = files.flatMap((file) =>
  importsOf(file)
    .filter((path) => path.startsWith("."))
    .map((path) => relative(src, join(src, dirname(file), path)).replace(/\.js$/, ".ts"))
    .filter((target) => !target.startsWith("../gen/"))
    .map((target) => ({ file, target })),
);

const importedBy = (file: string): string[] =>
  imports.filter((each) => each.file === file).map(({ target }) => target);

/** The files that `file` imports more than types of. */
function loadedBy(file: string): string[] {
  const typesOnly = /^(?:type\b.*|\{(?:\s*type\s[^,}]+,?)*\s*\})$/s;
  const statements = readFileSync(join(src, file), "utf8").matchAll(
    /^(?:import|export)\s([^;]*?)\sfrom "(\.[^"]+)"/gm,
  );
  return [...statements]
    .filter(([, names = ""]) => !typesOnly.test(names))
    .map(([, , path = ""]) => relative(src, join(src, dirname(file), path)).replace(/\.js$/, ".ts"))
    .filter((target) => !target.startsWith("../gen/"));
}

/** The circles of files that lead to each other by `next`, each from the file where it was met first. */
function circles(next: (file: string) => string[]): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push(path.slice(start));
    if (start >= 0 || done.has(file)) return;
    for (const target of next(file)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  return found;
}

test("imports point in one direction, and client and server never import each other", () => {
  const wrong = imports.filter(({ file, target }) => {
    const [from, to] = [floorOf(file), floorOf(target)];
    return from !== to && !MAY[from]?.includes(to);
  });
  assert.deepEqual(wrong, []);
});

test("the command line imports the server and the conformance suite as users do, by their entry points", () => {
  // The list of primitives is nothing that users need.
  const isEntry = (target: string) =>
    /^(server\/(index|node|disk|jetstream|primitives)|conformance\/index)\.ts$/.test(target);
  const wrong = imports.filter(
    ({ file, target }) =>
      floorOf(file) === "cli" && ["server", "conformance"].includes(floorOf(target)) && !isEntry(target),
  );
  assert.deepEqual(wrong, []);
});

test("no engine imports another", () => {
  const engineOf = (file: string) => /^server\/engines\/(\w+)/.exec(file)?.[1];
  const wrong = imports.filter(({ file, target }) => {
    const [from, to] = [engineOf(file), engineOf(target)];
    return from !== undefined && to !== undefined && from !== to && to !== "shared";
  });
  assert.deepEqual(wrong, []);
});

test("the configuration imports no service, and nothing that loads one", () => {
  const loaded = new Set(files.filter((file) => file.startsWith("server/config/")));
  for (const file of loaded) {
    for (const target of loadedBy(file)) loaded.add(target);
  }
  const wrong = imports.filter(
    ({ file, target }) => file.startsWith("server/config/") && target.startsWith("server/services/"),
  );
  assert.deepEqual(wrong, []);
  assert.deepEqual(
    [...loaded].filter((file) => file.startsWith("server/services/")),
    [],
  );
});

test("the command line loads NATS only with --jetstream", () => {
  const loaded = new Set(["cli/main.ts"]);
  for (const file of loaded) {
    for (const target of loadedBy(file)) loaded.add(target);
  }
  const ofEngine = [...loaded].filter((file) => /^server\/(engines\/)?jetstream/.test(file));
  assert.deepEqual(ofEngine, ["server/engines/jetstream/bounds.ts"]);
});

test("no files load each other in a circle, and in the server none import even types so", () => {
  assert.deepEqual(circles(loadedBy), []);
  const inServer = (file: string) => importedBy(file).filter((target) => target.startsWith("server/"));
  assert.deepEqual(
    circles(inServer).filter(([file = ""]) => file.startsWith("server/")),
    [],
  );
});

test("only the files for Node import what only Node has", () => {
  const wrong = files.filter(
    (file) => !onNode(file) && importsOf(file).some((path) => /^node:|connect-node$|^ws$/.test(path)),
  );
  assert.deepEqual(wrong, []);
});

test("entry points hold no code, and no file exports a default or everything", () => {
  for (const file of files) {
    const text = readFileSync(join(src, file), "utf8");
    assert.doesNotMatch(text, /^export (default|\*)/m, file);
    if (/^((server|conformance)\/)?(index|node|disk|jetstream)\.ts$|^(web|tunnel|app)\.ts$/.test(file)) {
      assert.doesNotMatch(text, /^(const|let|function|class|import)\b/m, file);
    }
  }
});

test("nothing public is declared in rpc/ or lib/", () => {
  const wrong = publicDeclarations().filter(({ file }) => /^src\/(rpc|lib)\//.test(file));
  assert.deepEqual(wrong, []);
});

test("the client's contract is declared in the facade files, client/<noun>.ts", () => {
  const isFacade = (file: string) => /^src\/client\/[\w-]+\.ts$/.test(file);
  const wrong = publicDeclarations("src/index.ts").filter(
    ({ file }) => file.startsWith("src/client/") && !isFacade(file),
  );
  assert.deepEqual(wrong, []);
  const paths = importsOf("index.ts").filter((path) => /^\.\/client\/.*\//.test(path));
  assert.deepEqual(paths, []);
});
