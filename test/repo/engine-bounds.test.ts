import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "vitest";
import { DISK_BOUNDS } from "../../src/server/engines/disk/bounds.js";
import { JETSTREAM_BOUNDS } from "../../src/server/engines/jetstream/bounds.js";
import { MEMORY_BOUNDS } from "../../src/server/engines/memory/bounds.js";
import type { Bound } from "../../src/server/engines/shared/bounds.js";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** A default as documentation writes it: "16 GiB", "10,000", "24 hours", "10 seconds". */
function written(name: string, value: number): string {
  if (name.endsWith("Ms"))
    return value < 3_600_000 ? `${value / 1000} seconds` : `${value / 3_600_000} hours`;
  for (const [unit, bytes] of [
    ["GiB", 1024 ** 3],
    ["MiB", 1024 ** 2],
  ] as const) {
    if (name.endsWith("Bytes") && value % bytes === 0) return `${value / bytes} ${unit}`;
  }
  return value >= 10_000 ? value.toLocaleString("en-US") : String(value);
}

const engines: [file: string, bounds: Record<string, Bound>][] = [
  ["src/server/engines/memory.ts", MEMORY_BOUNDS],
  ["src/server/engines/disk/engine.ts", DISK_BOUNDS],
  ["src/server/engines/jetstream/engine.ts", JETSTREAM_BOUNDS],
];

describe.each(engines)("the options of %s", (file, bounds) => {
  const source = read(file);

  test.each(Object.entries(bounds))("%s has the default that its comment tells", (name, bound) => {
    const [, comment = ""] =
      new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s*${name}\\?: number;`).exec(source) ?? [];
    const text = comment.replace(/\s*\n\s*\*\s*/g, " ");
    const [, told] = /Default(?: and minimum)?: ([^.]+)\./.exec(text) ?? [];
    const [, described] = /Default: ([^.]+)\./.exec(bound.description) ?? [];
    assert.equal(told, bound.default === undefined ? described : written(name, bound.default));
  });
});

test("docs/disk-engine.md has the bounds of the disk engine with their defaults", () => {
  const [, table = ""] =
    /\n\| `engines\.disk`[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)+)/.exec(read("docs/disk-engine.md")) ?? [];
  const rows = table
    .trim()
    .split("\n")
    .map((row) => row.split(" | "));
  assert.ok(rows.length > 3);
  for (const row of rows) {
    const names = [...(row[0] ?? "").matchAll(/`(\w+)`/g)].map(([, name = ""]) => name);
    const bounds: Record<string, Bound> = DISK_BOUNDS;
    const defaults = names.map((name) => written(name, bounds[name]?.default ?? Number.NaN));
    assert.equal(row.at(-1)?.replace(/ \|$/, ""), defaults.join(", "));
  }
});
