import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { parseConfig } from "../../src/server/config/config.js";

const page = readFileSync(join(import.meta.dirname, "../../docs/operations.md"), "utf8");
const limits: Record<string, number> = parseConfig().limits;

test("docs/operations.md names existing settings, with their defaults", () => {
  const rows = [...page.matchAll(/^\|.*?`(\w+)`[^|]*\| (\d+)[^|]*\|/gm)].map(([, name = "", value]) => [
    name,
    Number(value),
  ]);
  const known = rows.map(([name = ""]) => [name, limits[name]]);
  assert.ok(rows.length >= 9, `${rows.length} rows`);
  assert.deepEqual(rows, known);
  const own = Object.keys(limits).filter((name) => /(Percent|Ms)$/.test(name));
  for (const name of own) assert.match(page, new RegExp(`\`${name}\``), name);
});
