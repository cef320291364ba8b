import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { RULES } from "../../src/conformance/rules.js";
import { cases } from "../../src/conformance/suite.js";

const shared = join(import.meta.dirname, "../../../shared");
const decisions = join(shared, "contract/decisions.md");
const reference = join(shared, "reference");

/** Rows that only our own server or its configuration can show: tests cover them, not conformance cases. */
const TESTED = [
  "the caller has no or a bad credential / may not do this",
  "the engine is away",
  "anything else",
  "lease time",
  "consumer groups",
];

/** The first column of each row, without marks and text in brackets. */
function topics(): string[] {
  const rows = readFileSync(decisions, "utf8").match(/^\| (?!-)[^\n]*$/gm) ?? [];
  return rows
    .map((row) => row.split(" | ")[0]?.replace(/^\| /, "").replaceAll("`", "").split(" (")[0] ?? "")
    .filter((topic) => topic !== "topic" && topic !== "what went wrong");
}

test.skipIf(!existsSync(decisions))("the suite's rules are the rows of decisions.md", () => {
  assert.deepEqual([...RULES], topics());
});

test("every row of decisions.md has a case, or a test with its name if no case is possible", () => {
  const ruled = new Set<string>(cases.map(({ rule }) => rule));
  const folder = join(import.meta.dirname, "../decisions");
  const names = readdirSync(folder).flatMap((file) => [
    ...readFileSync(join(folder, file), "utf8").matchAll(/\btest\(\s*(["'`])([\s\S]*?)\1,/g),
  ]);
  const tested = (topic: string) =>
    names.some(([, , name = ""]) => name.toLowerCase().startsWith(topic.toLowerCase()));
  assert.deepEqual(
    RULES.filter((rule) => !ruled.has(rule)),
    TESTED,
  );
  assert.deepEqual(
    TESTED.filter((topic) => !tested(topic)),
    [],
  );
});

test.skipIf(!existsSync(reference))(
  "a case that is written for a reference page names something on it",
  () => {
    const pages = readdirSync(reference).map((file) => readFileSync(join(reference, file), "utf8"));
    for (const { rule, name } of cases) {
      const [, word] = /^reference: (.+)$/.exec(rule) ?? [];
      if (word)
        assert.ok(
          pages.some((page) => new RegExp(`\\b${word}\\b`).test(page)),
          `${name}: ${word}`,
        );
    }
  },
);

test("no two cases of a primitive have the same name", () => {
  const names = cases.map(({ primitive, name }) => `${primitive}: ${name}`);
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  );
});
