import type { Case, Primitive } from "./case.js";
import type { Rule } from "./rules.js";
import type { Outcome } from "./run.js";

/** Something that a server is known to do otherwise. */
export interface Deviation {
  /** The primitive of the cases that it is about. */
  readonly primitive: Primitive;
  /** The cases that it is about: those of this rule, */
  readonly rule?: Rule;
  /** and those whose name this fits. */
  readonly name?: RegExp;
  /** What the server does instead, and where that is written. */
  readonly why: string;
}

/** What is expected of a server. */
export interface Profile {
  /** What `--profile` calls it. */
  readonly name: string;
  /** What the server is known to do otherwise. */
  readonly deviations: readonly Deviation[];
}

/** All that Fairlead promises. */
export const FAIRLEAD: Profile = { name: "fairlead", deviations: [] };

/** A case that was run, and what that means under a profile. */
export interface Result {
  /** The case. */
  readonly case: Case;
  /** What became of it. */
  readonly outcome: Outcome;
  /** The known deviation that explains a failure; a failure without one counts. */
  readonly deviation?: Deviation;
}

/** What an outcome means under `profile`. */
export function judged(one: Case, outcome: Outcome, profile: Profile): Result {
  const deviation =
    outcome.status === "failed" ? profile.deviations.find((known) => isAbout(known, one)) : undefined;
  return { case: one, outcome, ...(deviation && { deviation }) };
}

/** The deviations of which nothing was seen, though all cases that they are about were run. */
export function gone(profile: Profile, results: readonly Result[]): Deviation[] {
  return profile.deviations.filter((deviation) => {
    const about = results.filter((result) => isAbout(deviation, result.case));
    return about.length > 0 && about.every(({ outcome }) => outcome.status === "passed");
  });
}

function isAbout({ primitive, rule, name }: Deviation, one: Case): boolean {
  return (
    one.primitive === primitive &&
    (rule === undefined || one.rule === rule) &&
    (name === undefined || name.test(one.name))
  );
}
