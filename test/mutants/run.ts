import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mutants } from "./list.js";
import type { Judged, Mutant } from "./mutant.js";
import { buildJudge, misplaced } from "./seed.js";
import { type Trial, triedToTheEnd } from "./trial.js";
import { nameOf, type Unit, units } from "./units.js";

const out = join(process.cwd(), "test/.tmp", `mutants-${process.pid}`);

/** How many run at the same time: one for each of the two cores that CI has. */
const AT_ONCE = 2;

/** Most cases wait most of the time. */
const CASES_AT_ONCE = 24;

/** Whether all cases of a mutant's primitives are run, to learn which cases no mutant kills. */
const unprovenToo = process.env["UNPROVEN"] !== undefined;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** The first mutant of everything that is judged. */
function quick(): Mutant[] {
  const seen = new Set<Judged | undefined>();
  return mutants.filter(({ judged: [one] }) => !seen.has(one) && seen.add(one));
}

const primitives = new Set<string>(units.map(({ judged }) => judged));

/** Those that one of `words` is about: a primitive, or a part of a file's name or of what is wrong. */
function chosenBy(words: readonly string[]): readonly Mutant[] {
  return mutants.filter(({ file, what, judged }) => {
    const about = (word: string) =>
      primitives.has(word) ? judged.includes(word as Judged) : `${file} ${what}`.includes(word);
    return words.length === 0 || words.some(about);
  });
}

const places = (is: (unit: Unit) => boolean): number[] =>
  [...units.keys()].filter((i) => is(units[i] as Unit));

/** The cases that a mutant was seen to be killed by. */
const proven = new Set<Unit>();

const judgedBy = (mutant: Mutant, unit: Unit): boolean => mutant.judged.includes(unit.judged);

/** Whether the case is one of those that have to notice. */
const isNamed = (mutant: Mutant, unit: Unit): boolean =>
  judgedBy(mutant, unit) && mutant.kills.test(unit.name);

async function trialOf(mutant: Mutant, i: number): Promise<Trial & { hung: boolean }> {
  const judge = join(out, `${i}.mjs`);
  await buildJudge(judge, mutant);
  const first = places((unit) => isNamed(mutant, unit));
  // Of the others those are of interest that no mutant has killed yet.
  const rest = places(
    (unit) => judgedBy(mutant, unit) && !isNamed(mutant, unit) && !(unprovenToo && proven.has(unit)),
  );
  // What many primitives have in common is told by the cases that it names.
  const all = unprovenToo && mutant.judged.length === 1;
  return triedToTheEnd(judge, { first, rest, all, atOnce: CASES_AT_ONCE });
}

/** Runs a mutant; whether it was killed by a case that its entry names. */
async function isKilled(mutant: Mutant, i: number): Promise<boolean> {
  const title = `${mutant.judged.join(", ")}: ${mutant.what} (${mutant.file})`;
  const { failed, hung, broken } = await trialOf(mutant, i).catch((error: Error) => {
    return { failed: new Map<number, string>(), hung: false, broken: error.message };
  });
  const by = [...failed.keys()].filter((place) => !ailing.has(place)).map((place) => units[place] as Unit);
  const names = by.map(nameOf);
  const named = by.filter(({ name }) => mutant.kills.test(name));
  if (broken !== undefined) say(`BROKEN    ${title}: nothing can be asked of it: ${broken.split("\n")[0]}`);
  else if (named.length === 0)
    say(`SURVIVED  ${title}: ${mutant.kills} did not fail, ${names.join("; ") || "nor did another"}`);
  else say(`killed    ${title}: by ${names.length}${hung ? ", by the time limit of its process" : ""}`);
  if (broken !== undefined) return false;
  for (const unit of by) proven.add(unit);
  return named.length > 0;
}

/** The cases that fail with no mutant at all: they prove nothing. */
const ailing = new Set<number>();

/** Whether there is none of them. */
async function healthy(chosen: readonly Mutant[]): Promise<boolean> {
  const judge = join(out, "healthy.mjs");
  await buildJudge(judge);
  const first = places((unit) => chosen.some((mutant) => (unprovenToo ? judgedBy : isNamed)(mutant, unit)));
  const { failed, broken } = await triedToTheEnd(judge, { first, rest: [], all: true, atOnce: 12 });
  for (const place of failed.keys()) ailing.add(place);
  for (const [place, why] of failed) say(`FAILS WITHOUT A MUTANT  ${nameOf(units[place] as Unit)}: ${why}`);
  if (broken !== undefined) say(`NOTHING RUNS  ${broken}`);
  return failed.size === 0 && broken === undefined;
}

/** Whether every entry of the list still means something. */
function inPlace(): boolean {
  const faults = mutants.flatMap((mutant) => {
    const named = units.some((unit) => isNamed(mutant, unit));
    return [misplaced(mutant), named ? undefined : `no case fits ${mutant.kills}: ${mutant.what}`];
  });
  const told = faults.filter((fault) => fault !== undefined);
  for (const fault of told) say(`MISPLACED ${fault}`);
  return told.length === 0;
}

function summary(chosen: readonly Mutant[], killed: number): void {
  const own = chosen.filter(({ judged }) => judged.length === 1);
  const asked = units.filter((unit) => own.some((mutant) => judgedBy(mutant, unit)));
  const unproven = asked.filter((unit) => !proven.has(unit));
  if (unprovenToo) for (const unit of unproven) say(`UNPROVEN  ${nameOf(unit)}`);
  say(`\n${killed} of ${chosen.length} mutants killed`);
  say(`${asked.length - unproven.length} of ${asked.length} cases seen to fail`);
}

const words = process.argv.slice(2);
const chosen = words.includes("--quick") ? quick() : chosenBy(words);
mkdirSync(out, { recursive: true });
let fine = inPlace();
fine = (await healthy(chosen)) && fine;
let killed = 0;
const waiting = chosen.entries();
const work = async () => {
  for (const [i, mutant] of waiting) if (await isKilled(mutant, i)) killed++;
};
await Promise.all(Array.from({ length: AT_ONCE }, work));
rmSync(out, { recursive: true });
summary(chosen, killed);
process.exitCode = fine && killed === chosen.length ? 0 : 1;
