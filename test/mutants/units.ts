import { engineConformance } from "../../src/conformance/engine.js";
import { runCase } from "../../src/conformance/run-case.js";
import { cases } from "../../src/conformance/suite.js";
import type { Target } from "../../src/conformance/target.js";
import { memoryEngine } from "../../src/server/engines/memory.js";
import type { Judged } from "./mutant.js";

/** A case of either suite. */
export interface Unit {
  readonly judged: Judged;
  readonly name: string;
  /** Fails where the server, or the memory engine, does otherwise. */
  run(open: (movable: boolean) => Promise<Target>): Promise<void>;
}

/** No case takes that long on a server of its own process; one that does waits for what does not come. */
const PATIENCE_MS = 10_000;

const wire: Unit[] = cases.map((one) => ({
  judged: one.primitive,
  name: one.name,
  run: async (open) => {
    const movesClock = one.needs.includes("time") || one.needs.includes("clock");
    const outcome = await runCase(one, await open(movesClock), PATIENCE_MS);
    if (outcome.status === "failed") throw outcome.error;
    if (outcome.status === "skipped") throw new Error(`skipped: ${outcome.reason}`);
  },
}));

const engine: Unit[] = [];
engineConformance(
  (name, run) => engine.push({ judged: "engine", name, run: () => run() }),
  async () => memoryEngine(),
);

/** Every case, of the wire and of engines. */
export const units: readonly Unit[] = [...wire, ...engine];

/** A unit as it is told. */
export const nameOf = ({ judged, name }: Unit): string => `${judged}: ${name}`;
