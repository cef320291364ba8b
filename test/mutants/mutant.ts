import type { Primitive } from "../../src/server/primitives.js";

/** What a mutant is held against: the cases of a primitive, or those that every engine has to pass. */
export type Judged = Primitive | "engine";

/** A fault that is put into the server on purpose, and the cases that have to notice. */
export interface Mutant {
  /** From src/server on. */
  readonly file: string;
  /** What is wrong with it, in a few words. */
  readonly what: string;
  /** What is replaced; it is there exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Whose cases are run. */
  readonly judged: readonly Judged[];
  /** At least one case whose name fits has to fail. */
  readonly kills: RegExp;
}

/** What is wrong, what is replaced, by what, and which cases have to notice. */
export type Fault = readonly [what: string, find: string, replace: string, kills: RegExp];

/** The mutants of one file. */
export const faultsOf = (judged: Judged | Judged[], file: string, faults: readonly Fault[]): Mutant[] =>
  faults.map(([what, find, replace, kills]) => ({
    file,
    what,
    find,
    replace,
    kills,
    judged: [judged].flat(),
  }));
