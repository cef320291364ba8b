import { engineConformance } from "../../src/conformance/engine.js";
import { runCase } from "../../src/conformance/run-case.js";
import { cases } from "../../src/conformance/suite.js";
import type { Target } from "../../src/conformance/target.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { TestedPart } from "./mutant.js";

/** A case of one of the two suites. */
export interface Unit {
  readonly part: TestedPart;
  readonly name: string;
  /** Rejects if the case fails. */
  run(open: (movable: boolean) => Promise<Target>): Promise<void>;
}

/** The timeout of a case. */
const TIMEOUT_MS = 10_000;

const serverCases: Unit[] = cases.map((one) => ({
  part: one.primitive,
  name: one.name,
  run: async (open) => {
    const movesClock = one.needs.includes("time") || one.needs.includes("clock");
    const outcome = await runCase(one, await open(movesClock), TIMEOUT_MS);
    if (outcome.status === "failed") throw outcome.error;
    if (outcome.status === "skipped") throw new Error(`skipped: ${outcome.reason}`);
  },
}));

const engineCases: Unit[] = [];
engineConformance(
  (name, run) => engineCases.push({ part: "engine", name, run: () => run() }),
  async () => memoryEngine(),
);

/** All cases of servers and of engines. */
export const units: readonly Unit[] = [...serverCases, ...engineCases];

/** The name of a case in messages. */
export const nameOf = ({ part, name }: Unit): string => `${part}: ${name}`;
