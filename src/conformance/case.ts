import type { Primitive } from "../server/primitives.js";
import type { CaseContext } from "./case-context.js";
import type { Need } from "./needs.js";
import type { ConformanceRule } from "./rules.js";

/** One requirement on a server, and the function that checks it. */
export interface Case {
  /** The primitive that it checks. */
  readonly primitive: Primitive;
  /** The requirement as a sentence, unique within the primitive. */
  readonly name: string;
  /** The source of the requirement. */
  readonly rule: ConformanceRule;
  /** The needs of the case. It is skipped if one of them is not met. */
  readonly needs: readonly Need[];
  /** Rejects if the server does not meet the requirement. */
  run(context: CaseContext): Promise<void>;
}

/** Declares a case by its rule, with needs if it has any, and its sentence. */
export type DeclareCase<T> = (
  place: ConformanceRule | readonly [ConformanceRule, ...Need[]],
  name: string,
  run: (at: T) => Promise<void>,
) => void;

/**
 * Creates the cases of one primitive. `calls` creates the argument of each case from its context. All cases have
 * `needs`.
 */
export function casesOf<T>(
  primitive: Primitive,
  calls: (context: CaseContext) => T,
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
      run: async (context) => run(calls(context)),
    });
  };
  for (const group of groups) group(on);
  return cases;
}
