import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";

const decisions = join(import.meta.dirname, "../../shared/contract/decisions.md");

/** The first column of each row, as the tests' names begin: without marks, and without what stands in brackets. */
function topics(): string[] {
  const rows = readFileSync(decisions, "utf8").match(/^\| (?!-)[^\n]*$/gm) ?? [];
  return rows
    .map((row) => row.split(" | ")[0]?.replace(/^\| /, "").replaceAll("`", "").split(" (")[0] ?? "")
    .filter((topic) => topic !== "topic" && topic !== "what went wrong");
}

test.skipIf(!existsSync(decisions))("every row of decisions.md has a test that is called by it", () => {
  const folder = join(import.meta.dirname, "decisions");
  const names = readdirSync(folder)
    .flatMap((file) => [
      ...readFileSync(join(folder, file), "utf8").matchAll(/\btest\(\s*(["'`])([\s\S]*?)\1,/g),
    ])
    .map(([, , name]) => name ?? "");
  const tested = (topic: string) => names.some((name) => name.toLowerCase().startsWith(topic.toLowerCase()));
  assert.ok(topics().length > 40);
  assert.deepEqual(
    topics().filter((topic) => !tested(topic)),
    [],
  );
});
