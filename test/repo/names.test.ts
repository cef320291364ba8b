import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";

const src = join(import.meta.dirname, "../../src");
const EXPORTED = /^export (?:async |abstract )?(?:function\*?|const|class|interface|type|enum) (\w+)/gm;

/** The names that two files of src/ may export. */
const SHARED: Record<string, string> = {
  createTunnelTransport:
    "one of fairlead/tunnel and one of fairlead/node: the same transport over other WebSockets",
};

test("no two files of src/ export the same name", () => {
  const filesOf = new Map<string, Set<string>>();
  for (const file of readdirSync(src, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts")) continue;
    for (const [, name = ""] of readFileSync(join(src, file), "utf8").matchAll(EXPORTED)) {
      filesOf.set(name, (filesOf.get(name) ?? new Set()).add(file));
    }
  }
  const shared = [...filesOf].filter(([, files]) => files.size > 1);
  const wrong = shared.filter(([name]) => !(name in SHARED)).map(([name, files]) => [name, ...files]);
  assert.deepEqual(wrong, []);
  assert.deepEqual(shared.map(([name]) => name).sort(), Object.keys(SHARED).sort());
});
