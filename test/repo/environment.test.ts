import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";

const src = join(import.meta.dirname, "../../src");

/** The code that the simulation of gossip runs: it takes time and randomness from an `Environment`. */
const SIMULATED = ["gossip", "client/gossip-map", "server/services/gossip-map"];

/** What would make a simulated run differ from the next one. */
const REAL =
  /\bDate\b|\bperformance\b|\bMath\.random\b|\bcrypto\b|\bset(Timeout|Interval|Immediate)\b|(?<![#.\w])(runAfter|armTimeout|sleep|delay)\(|AbortSignal\.timeout/;

/** The only file that takes time and randomness from the process. */
const EXCEPTION = "gossip/environment.ts";

test("the gossip map takes time and randomness only from its environment", () => {
  const files = SIMULATED.flatMap((folder) => [
    ...readdirSync(join(src, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => `${folder}/${file}`),
    ...(folder === "server/services/gossip-map" ? [`${folder}.ts`] : []),
  ]).filter((file) => file !== EXCEPTION);
  const wrong = files.flatMap((file) =>
    readFileSync(join(src, file), "utf8")
      .split("\n")
      // Comments may name them.
      .filter((line) => !/^\s*(\*|\/\*|\/\/)/.test(line) && REAL.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );
  assert.deepEqual(wrong, []);
});
