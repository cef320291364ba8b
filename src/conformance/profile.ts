import type { Primitive } from "../server/primitives.js";
import type { Case } from "./case.js";
import { type Expectation, failureOf } from "./expectation.js";
import type { ConformanceRule } from "./rules.js";
import type { Outcome } from "./run-case.js";

/** A known deviation of a server: another outcome of some cases. Any third outcome is a failure. */
export interface Deviation {
  /** The primitive of the cases. */
  readonly primitive: Primitive;
  /** The rule of the cases. Default: any. */
  readonly rule?: ConformanceRule;
  /** Matches the names of the cases. Default: any. */
  readonly name?: RegExp;
  /** The outcomes that are expected instead. One of them must match. */
  readonly expected: readonly Expectation[];
  /** A description of what the server does instead, and where that is documented. */
  readonly reason: string;
}

/** The known deviations of a kind of server. */
export interface Profile {
  /** The value of `--profile`. */
  readonly name: string;
  /** The known deviations. */
  readonly deviations: readonly Deviation[];
  /**
   * For each primitive, the share of cases that must pass, from 0 to 1, even if all failures are known deviations.
   * Default: none.
   */
  readonly floors?: Partial<Record<Primitive, number>>;
}

/** The profile without deviations: every promise of Fairlead. */
export const FAIRLEAD: Profile = { name: "fairlead", deviations: [] };

/** A case, its outcome, and the deviation that explains it. */
export interface Result {
  /** The case. */
  readonly case: Case;
  /** The outcome. */
  readonly outcome: Outcome;
  /** The known deviation that explains a failure. Without one the run fails. */
  readonly deviation?: Deviation;
}

/** Finds the deviation of `profile` that explains an outcome. None explains a lost connection. */
export function applyProfile(one: Case, outcome: Outcome, profile: Profile): Result {
  if (outcome.status !== "failed") return { case: one, outcome };
  const seen = failureOf(outcome.error);
  const deviation = profile.deviations.find((known) => {
    return appliesTo(known, one) && known.expected.some((expectation) => expectation.matches(seen));
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
    // Rounded down: of very few cases, none must pass.
    const floor = Math.floor(share * ran);
    return passed < floor ? [{ primitive, passed, floor, ran }] : [];
  });
}

/** The deviations whose cases were all run and passed. */
export function unseenDeviations(profile: Profile, results: readonly Result[]): Deviation[] {
  return profile.deviations.filter((deviation) => {
    const about = results.filter((result) => appliesTo(deviation, result.case));
    return about.length > 0 && about.every(({ outcome }) => outcome.status === "passed");
  });
}

function appliesTo({ primitive, rule, name }: Deviation, one: Case): boolean {
  return (
    one.primitive === primitive &&
    (rule === undefined || one.rule === rule) &&
    (name === undefined || name.test(one.name))
  );
}
