import type { Primitive } from "../server/primitives.js";
import type { Case } from "./case.js";
import { type Expectation, failureOf } from "./expectation.js";
import type { Rule } from "./rules.js";
import type { Outcome } from "./run-case.js";

/** Something that a server is known to do otherwise: what it does instead is expected, and anything else is a failure. */
export interface Deviation {
  /** The primitive of the cases that it is about. */
  readonly primitive: Primitive;
  /** The cases that it is about: those of this rule, */
  readonly rule?: Rule;
  /** and those whose name this fits. */
  readonly name?: RegExp;
  /** The outcomes that are expected instead: one of them has to be what happened. */
  readonly expected: readonly Expectation[];
  /** What the server does instead, and where that is written. */
  readonly reason: string;
}

/** What is expected of a server. */
export interface Profile {
  /** What `--profile` calls it. */
  readonly name: string;
  /** What the server is known to do otherwise. */
  readonly deviations: readonly Deviation[];
  /**
   * For each primitive the share of the cases that were run that has to pass, from 0 to 1: below it the run fails, however
   * well its deviations are known. Left out: none.
   */
  readonly floors?: Partial<Record<Primitive, number>>;
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

/** What an outcome means under `profile`. A failure by a lost connection is never a known deviation. */
export function applyProfile(one: Case, outcome: Outcome, profile: Profile): Result {
  if (outcome.status !== "failed") return { case: one, outcome };
  const seen = failureOf(outcome.error);
  const deviation = profile.deviations.find((known) => {
    return isAbout(known, one) && known.expected.some((expectation) => expectation.matches(seen));
  });
  return { case: one, outcome, ...(deviation && { deviation }) };
}

/** A primitive of which too few cases passed. */
export interface Shortfall {
  /** The primitive of these cases. */
  readonly primitive: Primitive;
  /** How many passed. */
  readonly passed: number;
  /** How many had to pass. */
  readonly floor: number;
  /** How many were run. */
  readonly ran: number;
}

/** The primitives of which too few cases passed, by the profile's floors. */
export function shortfalls({ floors = {} }: Profile, results: readonly Result[]): Shortfall[] {
  return Object.entries(floors).flatMap(([name, share]) => {
    const primitive = name as Primitive;
    const outcomes = results
      .filter((result) => result.case.primitive === primitive && result.outcome.status !== "skipped")
      .map(({ outcome }) => outcome.status);
    const ran = outcomes.length;
    const passed = outcomes.filter((status) => status === "passed").length;
    // Rounded down: of a few cases none has to pass.
    const floor = Math.floor(share * ran);
    return passed < floor ? [{ primitive, passed, floor, ran }] : [];
  });
}

/** The deviations of which nothing was seen, though all cases that they are about were run. */
export function unseenDeviations(profile: Profile, results: readonly Result[]): Deviation[] {
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
