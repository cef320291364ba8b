import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "vitest";

const src = join(import.meta.dirname, "../src");
const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

/** What only runs on Node; the compiler holds the rest to it with `.ci/isomorphic.json`. */
const { exclude } = JSON.parse(
  readFileSync(join(src, "../.ci/isomorphic.json"), "utf8").replace(/^\s*\/\/.*$/gm, ""),
) as { exclude: string[] };
const onNode = (file: string) => exclude.some((path) => `../src/${file}`.startsWith(path));

/** The part of the house that a file of src/ belongs to. */
function room(file: string): string {
  const [first = "", ...rest] = file.split("/");
  if (rest.length > 0) return first;
  if (["errors.ts", "codec.ts"].includes(first)) return "base";
  // What is loaded on demand must not be imported by what a page begins with: import() is not looked at here.
  return ["index.ts", "web.ts", "node.ts", "tunnel.ts", "app.ts", "client.ts", "on-demand.ts"].includes(first)
    ? "door"
    : "facade";
}

/** Which rooms each room may look into, besides itself and gen/. */
const MAY: Record<string, string[]> = {
  base: ["internal"],
  internal: ["base"],
  gossip: ["base", "internal"],
  tunnel: ["internal"],
  transport: ["base", "internal", "tunnel", "facade"],
  facade: ["base", "internal", "gossip"],
  door: ["base", "internal", "gossip", "facade", "transport", "tunnel"],
  server: ["internal", "gossip", "tunnel"],
  conformance: ["base", "internal", "facade", "door", "server"],
  cli: ["internal", "door", "server", "conformance"],
};

const importsOf = (file: string): string[] =>
  [...readFileSync(join(src, file), "utf8").matchAll(/^(?:import|export)\s[^;]*?from "([^"]+)"/gm)].map(
    (match) => match[1] ?? "",
  );

test("imports point one way: client and server never meet, and nothing looks back", () => {
  const wrong: string[] = [];
  for (const file of files) {
    for (const path of importsOf(file).filter((path) => path.startsWith("."))) {
      const target = relative(src, join(src, dirname(file), path)).replace(/\.js$/, ".ts");
      if (target.startsWith("../gen/")) continue;
      const [from, to] = [room(file), room(target)];
      if (from !== to && !MAY[from]?.includes(to)) wrong.push(`${file} → ${target}`);
      // The command line uses what users use.
      const isDoor = /^(server\/(index|node|disk)|conformance\/index)\.ts$/.test(target);
      if (from === "cli" && (to === "server" || to === "conformance") && !isDoor) {
        wrong.push(`${file} → ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test("only the files for Node import what only Node has", () => {
  const wrong = files.filter(
    (file) => !onNode(file) && importsOf(file).some((path) => /^node:|connect-node$|^ws$/.test(path)),
  );
  assert.deepEqual(wrong, []);
});

test("doors hold no code and no file exports a default or everything", () => {
  for (const file of files) {
    const text = readFileSync(join(src, file), "utf8");
    assert.doesNotMatch(text, /^export (default|\*)/m, file);
    if (/^((server|conformance)\/)?(index|node|disk)\.ts$|^(web|tunnel|app)\.ts$/.test(file)) {
      assert.doesNotMatch(text, /^(const|let|function|class|import)\b/m, file);
    }
  }
});
