import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mutants } from "./list.js";
import type { Mutant, TestedPart } from "./mutant.js";
import { buildRunner, misplaced } from "./seed.js";
import { runWithRetry, type Trial } from "./trial.js";
import { nameOf, type Unit, units } from "./units.js";

const out = join(process.cwd(), "test/.tmp", `mutants-${process.pid}`);

/** The number of mutants that run at the same time. CI has two cores. */
const AT_ONCE = 2;

/** Most cases mainly wait, so many run at the same time. */
const CASES_AT_ONCE = 24;

/** Whether to run all cases of a mutant's primitives, to list the cases that no mutant kills. */
const reportUnproven = process.env["UNPROVEN"] !== undefined;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** The first mutant of each primitive and of the engine. */
function firstOfEachPart(): Mutant[] {
  const seen = new Set<TestedPart | undefined>();
  return mutants.filter(({ parts: [one] }) => !seen.has(one) && seen.add(one));
}

const primitives = new Set<string>(units.map(({ part }) => part));

/** Mutants that match one of `words`: a primitive, or a part of the file name or of the description. */
function mutantsMatching(words: readonly string[]): readonly Mutant[] {
  return mutants.filter(({ file, description, parts }) => {
    const matches = (word: string) =>
      primitives.has(word) ? parts.includes(word as TestedPart) : `${file} ${description}`.includes(word);
    return words.length === 0 || words.some(matches);
  });
}

const placesOf = (is: (unit: Unit) => boolean): number[] =>
  [...units.keys()].filter((i) => is(units[i] as Unit));

/** The cases that have killed a mutant. */
const killers = new Set<Unit>();

const isTestedBy = (mutant: Mutant, unit: Unit): boolean => mutant.parts.includes(unit.part);

/** Whether the entry of the mutant names the case. */
const isNamed = (mutant: Mutant, unit: Unit): boolean =>
  isTestedBy(mutant, unit) && mutant.kills.test(unit.name);

async function runTrial(mutant: Mutant, i: number): Promise<Trial & { hung: boolean }> {
  const runner = join(out, `${i}.mjs`);
  await buildRunner(runner, mutant);
  const first = placesOf((unit) => isNamed(mutant, unit));
  // The other cases. With UNPROVEN, only those that have not killed a mutant yet.
  const rest = placesOf(
    (unit) => isTestedBy(mutant, unit) && !isNamed(mutant, unit) && !(reportUnproven && killers.has(unit)),
  );
  // A fault in code that many primitives share runs only the cases that it names.
  const all = reportUnproven && mutant.parts.length === 1;
  return runWithRetry(runner, { first, rest, all, atOnce: CASES_AT_ONCE });
}

/** Runs a mutant. Resolves with whether a case that its entry names has killed it. */
async function isKilled(mutant: Mutant, i: number): Promise<boolean> {
  const title = `${mutant.parts.join(", ")}: ${mutant.description} (${mutant.file})`;
  const { failed, hung, broken } = await runTrial(mutant, i).catch((error: Error) => {
    return { failed: new Map<number, string>(), hung: false, broken: error.message };
  });
  const by = [...failed.keys()]
    .filter((place) => !failingWithoutMutant.has(place))
    .map((place) => units[place] as Unit);
  const names = by.map(nameOf);
  const named = by.filter(({ name }) => mutant.kills.test(name));
  if (broken !== undefined) say(`BROKEN    ${title}: the server does not run: ${broken.split("\n")[0]}`);
  else if (named.length === 0)
    say(`SURVIVED  ${title}: ${mutant.kills} did not fail, ${names.join("; ") || "and no other case did"}`);
  else say(`killed    ${title}: by ${names.length}${hung ? ", by the time limit of its process" : ""}`);
  if (broken !== undefined) return false;
  for (const unit of by) killers.add(unit);
  return named.length > 0;
}

/** The cases that fail without a mutant. They prove nothing. */
const failingWithoutMutant = new Set<number>();

/** Whether all cases pass without a mutant. */
async function passWithoutMutant(chosen: readonly Mutant[]): Promise<boolean> {
  const runner = join(out, "without-mutant.mjs");
  await buildRunner(runner);
  const first = placesOf((unit) =>
    chosen.some((mutant) => (reportUnproven ? isTestedBy : isNamed)(mutant, unit)),
  );
  const { failed, broken } = await runWithRetry(runner, { first, rest: [], all: true, atOnce: 12 });
  for (const place of failed.keys()) failingWithoutMutant.add(place);
  for (const [place, why] of failed) say(`FAILS WITHOUT A MUTANT  ${nameOf(units[place] as Unit)}: ${why}`);
  if (broken !== undefined) say(`NOTHING RUNS  ${broken}`);
  return failed.size === 0 && broken === undefined;
}

/** Whether the text of every entry is in its file, and a case has the name that it expects. */
function checkPlaces(): boolean {
  const faults = mutants.flatMap((mutant) => {
    const named = units.some((unit) => isNamed(mutant, unit));
    return [misplaced(mutant), named ? undefined : `no case matches ${mutant.kills}: ${mutant.description}`];
  });
  const problems = faults.filter((fault) => fault !== undefined);
  for (const problem of problems) say(`MISPLACED ${problem}`);
  return problems.length === 0;
}

function summary(chosen: readonly Mutant[], killed: number): void {
  const own = chosen.filter(({ parts }) => parts.length === 1);
  const tested = units.filter((unit) => own.some((mutant) => isTestedBy(mutant, unit)));
  const unproven = tested.filter((unit) => !killers.has(unit));
  if (reportUnproven) for (const unit of unproven) say(`UNPROVEN  ${nameOf(unit)}`);
  say(`\n${killed} of ${chosen.length} mutants killed`);
  say(`${tested.length - unproven.length} of ${tested.length} cases have killed a mutant`);
}

const words = process.argv.slice(2);
const chosen = words.includes("--quick") ? firstOfEachPart() : mutantsMatching(words);
mkdirSync(out, { recursive: true });
let isValid = checkPlaces();
isValid = (await passWithoutMutant(chosen)) && isValid;
let killed = 0;
const remaining = chosen.entries();
const work = async () => {
  for (const [i, mutant] of remaining) if (await isKilled(mutant, i)) killed++;
};
await Promise.all(Array.from({ length: AT_ONCE }, work));
rmSync(out, { recursive: true });
summary(chosen, killed);
process.exitCode = isValid && killed === chosen.length ? 0 : 1;
