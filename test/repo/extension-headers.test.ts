import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import * as headers from "../../src/rpc/extension-headers.js";

const src = join(import.meta.dirname, "../../src");
const homes = ["rpc/extension-headers.ts", "rpc/extension-headers/page.ts"];

test("every fairlead-* header is named in extension-headers.ts and nowhere else in src/", () => {
  const names: string[] = Object.values(headers);
  const literals = readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !homes.includes(file))
    .flatMap((file) =>
      [...codeOf(file).matchAll(/(["'`])(fairlead-[a-z-]*?)(\1|\$\{)/g)].map(([, , name]) => ({
        file,
        name,
      })),
    )
    .filter(({ name = "" }) => names.some((header) => name === header || isPrefixOf(header, name)));
  assert.deepEqual(literals, []);
});

test("no two extension headers have the same name", () => {
  assert.equal(new Set(Object.values(headers)).size, Object.keys(headers).length);
});

const isPrefixOf = (header: string, name: string): boolean => header.endsWith("-") && name.startsWith(header);

/** A file of src/ without its comments, which may name headers in backticks. */
function codeOf(file: string): string {
  return readFileSync(join(src, file), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
}
