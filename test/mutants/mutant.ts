import type { Primitive } from "../../src/server/primitives.js";

/** The cases that run against a mutant: those of a primitive, or those of engines. */
export type TestedPart = Primitive | "engine";

/** A deliberate fault in the server, and the cases that must fail for it. */
export interface Mutant {
  /** The path below src/server. */
  readonly file: string;
  /** A short description of the fault. */
  readonly description: string;
  /** The text that is replaced. It occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** The primitives whose cases run. */
  readonly parts: readonly TestedPart[];
  /** At least one case with a matching name must fail. */
  readonly kills: RegExp;
}

/** The description of a fault, the text that it replaces, the new text, and the names of cases that must fail. */
export type Fault = readonly [description: string, find: string, replace: string, kills: RegExp];

/** The mutants of one file. */
export const faultsOf = (
  parts: TestedPart | TestedPart[],
  file: string,
  faults: readonly Fault[],
): Mutant[] =>
  faults.map(([description, find, replace, kills]) => ({
    file,
    description,
    find,
    replace,
    kills,
    parts: [parts].flat(),
  }));
