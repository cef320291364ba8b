import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createRouterTransport } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { Lifecycle } from "../../gen/spec/proto/runtime/v1/lifecycle_pb.js";
import type { ChangeableKind } from "../../src/client/lifecycle.js";
import { createClient, createLifecycle } from "../../src/index.js";
import { inProcess } from "../../src/server/index.js";
import {
  COMPONENT_LABELS,
  componentKindSpelled,
  PRIMITIVE_NAMES,
  PRIMITIVES,
} from "../../src/server/primitives.js";

const root = join(import.meta.dirname, "../..");

/** As files are named: "gossip-map". */
const inKebabCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

test("the list of primitives has the properties of a client", async () => {
  await using client = createClient("http://localhost:1");
  // A presence is a facade on the gossip map.
  const others = new Set(["raw", "close", "presence"]);
  const properties = Object.keys(client).filter((name) => !others.has(name));
  const names = properties.map((name) => (name === "openGossipMap" ? "gossipMap" : name));
  assert.deepEqual([...PRIMITIVE_NAMES].sort(), names.sort());
});

describe.each(PRIMITIVE_NAMES)("%s", (name) => {
  const file = inKebabCase(name);
  // Both are on one page: they are about the server itself.
  const page = name === "hello" ? "lifecycle" : file;

  test.each([
    `src/client/${file}.ts`,
    `src/server/services/${file}.ts`,
    `src/conformance/${file}.ts`,
    `test/client/${file}.test.ts`,
    `test/decisions/${file}.test.ts`,
    `test/mutants/list/${file}.ts`,
    `docs/primitives/${page}.md`,
  ])("has %s", (path) => {
    assert.ok(existsSync(join(root, path)));
  });

  test("is on the documentation's menu", () => {
    const menu = readFileSync(join(root, "docs/.vitepress/config.mjs"), "utf8");
    assert.ok(menu.includes(`"${page}"`));
  });
});

/** Files that name some primitives for what they are, not as a list of all that there are. */
const CONTENT = [
  "src/server/primitives.ts",
  // Which kinds can change is what these are about.
  "src/client/lifecycle.ts",
  "src/conformance/lifecycle.ts",
  // The primitives of which the suite has cases with two stores.
  "src/conformance/stores.ts",
  // The primitives whose histories are recorded.
  "test/conformance/faults.test.ts",
];

test("no other file lists primitives in an array or a union", () => {
  const spellings = new Set(
    PRIMITIVE_NAMES.flatMap((name) => {
      const facts: { configKey?: string; aliases: readonly string[] } = PRIMITIVES[name];
      return [name, facts.configKey ?? name, ...facts.aliases];
    }),
  );
  const primitivesIn = (list: string) =>
    [...list.matchAll(/"([\w-]+)"/g)].filter(([, text = ""]) => spellings.has(text)).length;
  const tracked = execFileSync("git", ["ls-files", "-z", "src", "test", "bench", ".ci"], { cwd: root });
  const files = tracked
    .toString()
    .split("\0")
    .filter((file) => /\.(ts|mjs)$/.test(file) && existsSync(join(root, file)));
  const wrong = files.flatMap((file) => {
    if (CONTENT.includes(file)) return [];
    const text = readFileSync(join(root, file), "utf8");
    const lists = [
      ...text.matchAll(/\[\s*(?:"[\w-]+",?\s*){3,}\]/g),
      ...text.matchAll(/(?:\|?\s*"[\w-]+"\s*(?=\|)){2,}\|\s*"[\w-]+"/g),
    ];
    return lists.filter(([list]) => primitivesIn(list) >= 3).map(([list]) => `${file}: ${list}`);
  });
  assert.deepEqual(wrong, []);
});

test("the client's names for kinds of components are known to the server, on the wire too", async () => {
  for (const kind of Object.keys(COMPONENT_LABELS)) {
    let onWire = "";
    const transport = createRouterTransport(({ service }) => {
      service(Lifecycle, {
        applyConfiguration({ componentConfig }) {
          onWire = componentConfig?.kind ?? "";
          return {};
        },
      });
    });
    await createLifecycle(transport).apply(kind, "x", { a: "b" });
    assert.equal(componentKindSpelled(onWire), kind);
  }
});

test("the client's type of kinds that can change is what the server can change", async () => {
  const kinds: Record<ChangeableKind, true> = {
    hello: true,
    pubsub: true,
    sequencer: true,
    logs: true,
    services: true,
    bindings: true,
  };
  await using server = inProcess();
  const refused = createLifecycle(server).apply("nope", "x", { a: "b" });
  await assert.rejects(refused, ({ message }: Error) => {
    const [, list = ""] = /can change at run time are ([\w, ]+)$/.exec(message) ?? [];
    assert.deepEqual(list.split(", ").sort(), Object.keys(kinds).sort());
    return true;
  });
});
