import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundles } from "./bundles.js";
import { EXAMPLE_APP, installExamples, runExamples } from "./examples.js";
import { type Host, openHost } from "./host.js";
import { RUNTIMES, type Runtime } from "./runtimes.js";
import type { CaseResult } from "./suite/case.js";
import { table, withTable } from "./table.js";

/**
 * Runs the suite in every runtime against one server: `npm run test:runtimes`. `npm run test:runtimes node bun` selects
 * the runtimes whose names contain one of the words; `examples` selects examples/. `--write` writes the table into
 * docs/runtimes.md; without it the table there must be current. `--report FILE` writes the result of each case,
 * `--shots FOLDER` takes screenshots of the examples' pages.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    write: { type: "boolean", default: false },
    report: { type: "string" },
    shots: { type: "string" },
  },
});

/** The time limit of one runtime, in milliseconds. */
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
const installed = chosen.filter((runtime) => !missing.includes(runtime));
const folder = mkdtempSync(join(tmpdir(), "fairlead-runtimes-"));
const results: CaseResult[] = [];
const broken: string[] = [];
try {
  // All installations at once, before anything runs: npm takes its time, and the processors.
  const installing = withExamples ? installExamples(folder) : undefined;
  await Promise.all(installed.map(({ install }) => install?.()));
  const examples = await installing;
  const listening = installed.filter(({ listens }) => listens).map(({ name }) => name);
  await using host = await openHost(
    installed.map(({ name }) => name),
    [...listening, EXAMPLE_APP],
  );
  await runAll(host);
  if (examples) broken.push(...(await runExamples(host, examples, values.shots)));
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
const ordered = installed.flatMap(({ name }) => results.filter(({ runtime }) => runtime === name));
if (values.report) writeFileSync(values.report, JSON.stringify(ordered, undefined, 1));
for (const { name, missing: how } of missing) console.log(`not run: ${name}; ${how}`);
conclude();

/** Runs every installed runtime, as many at a time as there are processors. */
async function runAll(host: Host): Promise<void> {
  const built = await bundles();
  const script = join(folder, "suite.mjs");
  writeFileSync(script, built.program);
  const waiting = [...installed];
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await runOne(next, host, { bundles: built, script });
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

async function runOne(
  { name, run }: Runtime,
  { url, mirror, callbackPorts }: Host,
  built: Pick<Parameters<Runtime["run"]>[0], "bundles" | "script">,
): Promise<void> {
  const began = performance.now();
  const callbackPort = callbackPorts.get(name);
  const setting = { runtime: name, url, mirror, ...(callbackPort !== undefined && { callbackPort }) };
  const runtimeFolder = join(folder, name.replaceAll(" ", "-"));
  mkdirSync(runtimeFolder);
  try {
    const own = await run({ setting, folder: runtimeFolder, limitMs: LIMIT_MS, ...built });
    results.push(...own);
    const count = (outcome: CaseResult["outcome"]) => own.filter((each) => each.outcome === outcome).length;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    console.log(
      `${name}: ${count("ok")} ok, ${count("skipped")} skipped, ${count("failed")} failed (${seconds} s)`,
    );
    for (const { outcome, transport, primitive, case: title, reason } of own) {
      if (outcome === "failed") console.log(`  ${transport} > ${primitive} > ${title}\n    ${reason}`);
    }
  } catch (error) {
    broken.push(name);
    console.log(`${name}: ${(error as Error).message}`);
  }
}

/** Prints the result, and whether the table of docs/runtimes.md is out of date. */
function conclude(): void {
  const failed = ordered.filter(({ outcome }) => outcome === "failed").length;
  let stale = false;
  if (failed + broken.length + missing.length === 0 && installed.length === RUNTIMES.length) {
    const before = readFileSync(PAGE, "utf8");
    const after = withTable(before, table(ordered));
    if (values.write) writeFileSync(PAGE, after);
    else stale = before !== after;
  } else if (values.write) {
    console.log("not written: the table needs every runtime, without a failure");
  }
  if (stale) console.log("the table of docs/runtimes.md is out of date: npm run test:runtimes -- --write");
  console.log(
    `${ordered.length - failed} cases passed or skipped, ${failed} failed, ${broken.length} runtimes or examples broken`,
  );
  // CI has every runtime installed, so none may be missing.
  const tooFew = process.env["CI"] !== undefined && missing.length > 0;
  process.exitCode = failed + broken.length > 0 || stale || tooFew ? 1 : 0;
}
