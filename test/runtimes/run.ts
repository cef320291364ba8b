import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundles } from "./bundles.js";
import { EXAMPLE_APP, installExamples, runExamples } from "./examples.js";
import { type Host, openHost } from "./host.js";
import { RUNTIMES, type Runtime } from "./runtimes.js";
import type { Told } from "./suite/case.js";
import { table, withTable } from "./table.js";

/**
 * The suite in every runtime, against one server: `npm run test:runtimes`, or `npm run test:runtimes node bun` for those
 * whose names contain a word; `examples` is what is in examples/. `--write` puts the table into docs/runtimes.md; without it the table there has to be the same.
 * `--report FILE` writes what became of each case, `--shots FOLDER` takes pictures of the examples' pages.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    write: { type: "boolean", default: false },
    report: { type: "string" },
    shots: { type: "string" },
  },
});

/** The longest that one runtime may take, in milliseconds. */
const LIMIT_MS = 120_000;

const PAGE = join(import.meta.dirname, "../../../docs/runtimes.md");
const words = positionals.map((word) => word.toLowerCase());
const isChosen = (name: string) =>
  words.length === 0 || words.some((word) => name.toLowerCase().includes(word));
const chosen = RUNTIMES.filter(({ name }) => isChosen(name));
const withExamples = isChosen("examples");
if (chosen.length === 0 && !withExamples) {
  const names = RUNTIMES.map(({ name }) => name).join(", ");
  throw new Error(`No runtime is called ${positionals.join()}: they are ${names}, and examples`);
}

const missing = chosen.filter((runtime) => runtime.missing !== undefined);
const there = chosen.filter((runtime) => !missing.includes(runtime));
const folder = mkdtempSync(join(tmpdir(), "fairlead-runtimes-"));
const told: Told[] = [];
const broken: string[] = [];
try {
  // All installations at once, before anything runs: npm takes its time, and the processors.
  const installing = withExamples ? installExamples(folder) : undefined;
  await Promise.all(there.map(({ install }) => install?.()));
  const examples = await installing;
  const listening = there.filter(({ listens }) => listens).map(({ name }) => name);
  await using host = await openHost(
    there.map(({ name }) => name),
    [...listening, EXAMPLE_APP],
  );
  await runAll(host);
  if (examples) broken.push(...(await runExamples(host, examples, values.shots)));
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
const ordered = there.flatMap(({ name }) => told.filter(({ runtime }) => runtime === name));
if (values.report) writeFileSync(values.report, JSON.stringify(ordered, undefined, 1));
for (const { name, missing: how } of missing) console.log(`not run: ${name}; ${how}`);
conclude();

/** Every runtime that is there, as many at a time as there are processors. */
async function runAll(host: Host): Promise<void> {
  const made = await bundles();
  const script = join(folder, "suite.mjs");
  writeFileSync(script, made.program);
  const waiting = [...there];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await one(next, host, { bundles: made, script });
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

async function one(
  { name, run }: Runtime,
  { url, mirror, callbackPorts }: Host,
  made: Pick<Parameters<Runtime["run"]>[0], "bundles" | "script">,
): Promise<void> {
  const began = performance.now();
  const callbackPort = callbackPorts.get(name);
  const setting = { runtime: name, url, mirror, ...(callbackPort !== undefined && { callbackPort }) };
  const own = join(folder, name.replaceAll(" ", "-"));
  mkdirSync(own);
  try {
    const answer = await run({ setting, folder: own, limitMs: LIMIT_MS, ...made });
    told.push(...answer);
    const count = (outcome: Told["outcome"]) => answer.filter((each) => each.outcome === outcome).length;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(
      `${name}: ${count("ok")} ok, ${count("skipped")} skipped, ${count("failed")} failed (${seconds} s)`,
    );
    for (const { outcome, transport, primitive, case: what, reason } of answer) {
      if (outcome === "failed") console.log(`  ${transport} > ${primitive} > ${what}\n    ${reason}`);
    }
  } catch (error) {
    broken.push(name);
    console.log(`${name}: ${(error as Error).message}`);
  }
}

/** Tells how it ended, and what of docs/runtimes.md is no longer true. */
function conclude(): void {
  const failed = ordered.filter(({ outcome }) => outcome === "failed").length;
  let stale = false;
  if (failed + broken.length + missing.length === 0 && there.length === RUNTIMES.length) {
    const before = readFileSync(PAGE, "utf8");
    const after = withTable(before, table(ordered));
    if (values.write) writeFileSync(PAGE, after);
    else stale = before !== after;
  } else if (values.write) {
    console.log("not written: the table takes every runtime, without a failure");
  }
  if (stale)
    console.log("the table of docs/runtimes.md is not what this run found: npm run test:runtimes -- --write");
  console.log(
    `${ordered.length - failed} cases passed or skipped, ${failed} failed, ${broken.length} runtimes or examples broken`,
  );
  // CI has everything installed, so there nothing may be missing.
  const tooFew = process.env["CI"] !== undefined && missing.length > 0;
  process.exitCode = failed + broken.length > 0 || stale || tooFew ? 1 : 0;
}
