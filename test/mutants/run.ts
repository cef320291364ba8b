import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { mutants } from "./list.js";
import type { Judged, Mutant } from "./mutant.js";
import { buildJudge, misplaced } from "./seed.js";
import { type Trial, triedToTheEnd } from "./trial.js";
import { nameOf, type Unit, units } from "./units.js";

const out = join(process.cwd(), "test/.tmp/mutants");

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

/** Those that one of `words` is about: a primitive, or a part of a file's name or of what is wrong. */
function chosenBy(words: readonly string[]): readonly Mutant[] {
  const primitives = new Set<string>(units.map(({ judged }) => judged));
  const fits = ({ file, what, judged }: Mutant, word: string) =>
    primitives.has(word) ? judged.includes(word as Judged) : `${file} ${what}`.includes(word);
  return mutants.filter((mutant) => words.length === 0 || words.some((word) => fits(mutant, word)));
}

const places = (is: (unit: Unit) => boolean): number[] =>
  [...units.keys()].filter((i) => is(units[i] as Unit));

const judgedBy = (mutant: Mutant, unit: Unit) => mutant.judged.includes(unit.judged);

async function trialOf(mutant: Mutant, i: number): Promise<Trial & { hung: boolean }> {
  const judge = join(out, `${i}.mjs`);
  await buildJudge(judge, mutant);
  const fits = (unit: Unit) => mutant.kills.test(unit.name);
  const first = places((unit) => judgedBy(mutant, unit) && fits(unit));
  const rest = places((unit) => judgedBy(mutant, unit) && !fits(unit));
  // What many primitives have in common is told by the cases that it names.
  const all = unprovenToo && mutant.judged.length === 1;
  return triedToTheEnd(judge, { first, rest, all, atOnce: CASES_AT_ONCE });
}

/** A case that was killed, and by how few cases the mutant was that did it with the fewest: less is more of a proof. */
const narrowest = new Map<string, number>();

/** Runs a mutant; whether it was killed by a case that its entry names. */
async function isKilled(mutant: Mutant, i: number): Promise<boolean> {
  const title = `${mutant.judged.join(", ")}: ${mutant.what} (${mutant.file})`;
  const { failed, hung, broken } = await trialOf(mutant, i).catch((error: Error) => {
    return { failed: new Map<number, string>(), hung: false, broken: error.message };
  });
  const names = [...failed.keys()].map((place) => nameOf(units[place] as Unit));
  const named = [...failed.keys()].filter((place) => mutant.kills.test((units[place] as Unit).name));
  if (broken !== undefined) say(`BROKEN    ${title}: nothing can be asked of it: ${broken.split("\n")[0]}`);
  else if (named.length === 0)
    say(`SURVIVED  ${title}: ${mutant.kills} did not fail, ${names.join("; ") || "nor did another"}`);
  else say(`killed    ${title}: by ${names.length}${hung ? ", by the time limit of its process" : ""}`);
  if (broken !== undefined) return false;
  for (const name of names) narrowest.set(name, Math.min(narrowest.get(name) ?? Infinity, names.length));
  return named.length > 0;
}

/** Those that fail with no mutant at all prove nothing. */
async function healthy(chosen: readonly Mutant[]): Promise<boolean> {
  const judge = join(out, "healthy.mjs");
  await buildJudge(judge);
  const first = places((unit) => chosen.some((mutant) => judgedBy(mutant, unit)));
  const { failed, broken } = await triedToTheEnd(judge, { first, rest: [], all: true, atOnce: 12 });
  for (const [place, why] of failed) say(`FAILS WITHOUT A MUTANT  ${nameOf(units[place] as Unit)}: ${why}`);
  if (broken !== undefined) say(`NOTHING RUNS  ${broken}`);
  return failed.size === 0 && broken === undefined;
}

/** Whether every entry of the list still means something. */
function inPlace(): boolean {
  const faults = mutants.flatMap((mutant) => {
    const named = units.some((unit) => judgedBy(mutant, unit) && mutant.kills.test(unit.name));
    return [misplaced(mutant), named ? undefined : `no case fits ${mutant.kills}: ${mutant.what}`];
  });
  const told = faults.filter((fault) => fault !== undefined);
  for (const fault of told) say(`MISPLACED ${fault}`);
  return told.length === 0;
}

function summary(chosen: readonly Mutant[], killed: number): void {
  say(`\n${killed} of ${chosen.length} mutants killed`);
  if (!unprovenToo) return;
  const asked = units.filter((unit) => chosen.some((mutant) => judgedBy(mutant, unit)));
  const unproven = asked.filter((unit) => !narrowest.has(nameOf(unit)));
  for (const unit of unproven) say(`UNPROVEN  ${nameOf(unit)}`);
  const widths = [...narrowest.values()].sort((a, b) => a - b);
  say(`${asked.length - unproven.length} of ${asked.length} cases seen to fail`);
  say(
    `the most exact mutant of a case kills ${widths[widths.length >> 1]} cases (median), ${widths.at(-1)} at most`,
  );
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
