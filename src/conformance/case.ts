import type { Primitive } from "../server/primitives.js";
import type { CaseContext } from "./case-context.js";
import type { Need } from "./needs.js";
import type { Rule } from "./rules.js";

/** One thing that must hold. */
export interface Case {
  /** What it is about. */
  readonly primitive: Primitive;
  /** A sentence of the specification: what is so. No two cases of a primitive have the same. */
  readonly name: string;
  /** Where it is written. */
  readonly rule: Rule;
  /** What has to be there for it; where something is missing, the case is skipped for that reason. */
  readonly needs: readonly Need[];
  /** Fails where the server does otherwise. */
  run(bench: CaseContext): Promise<void>;
}

/** Declares a case: where it is written, perhaps with what it needs, and the sentence. */
export type DeclareCase<T> = (
  place: Rule | readonly [Rule, ...Need[]],
  name: string,
  run: (at: T) => Promise<void>,
) => void;

/** The cases of one primitive: each is given what `calls` makes of its bench. `needs` are those of all of them. */
export function casesOf<T>(
  primitive: Primitive,
  calls: (bench: CaseContext) => T,
  groups: readonly ((on: DeclareCase<T>) => void)[],
  needs: readonly Need[] = [],
): Case[] {
  const cases: Case[] = [];
  const on: DeclareCase<T> = (place, name, run) => {
    const [rule, ...own] = typeof place === "string" ? [place] : place;
    cases.push({
      primitive,
      name,
      rule,
      needs: [...needs, ...own],
      run: async (bench) => run(calls(bench)),
    });
  };
  for (const group of groups) group(on);
  return cases;
}
