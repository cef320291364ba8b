import { lazyChunk } from "../../../src/client/lazy.js";
import { type Plan, planOf } from "./plan.js";
import { shrink } from "./shrink.js";
import { type Outcome, simulate } from "./simulate.js";

/** How long a failing plan is made smaller. */
const SHRINK_MS = 30_000;

/** What the program prints, as a line of JSON for each seed. */
export interface SeedResult extends Omit<Outcome, "trace"> {
  seed: number;
  /** How long it took, in milliseconds. */
  tookMs: number;
  /** For a seed that fails: the smallest plan that still fails, with its violation and the end of its trace. */
  smallest?: { plan: Plan; violation: string; trace: readonly string[] };
}

/** The arguments of the program, as JSON. */
export interface SeedOrders {
  /** The seeds: `first`, `first + step`, … below `end`. */
  first: number;
  end: number;
  step: number;
  /** Whether to end at the first seed that fails. */
  stopsAtFailure: boolean;
  /** Whether to make failing plans smaller. */
  shrinks: boolean;
}

/** A violation without its names and numbers, so that a smaller plan is one that fails in the same way. */
const kindOf = (violation: string): string =>
  violation
    .replaceAll(/"[^"]*"|\b[mk]?\d[\w.]*/g, "")
    .split(" ")
    .slice(0, 12)
    .join(" ");

async function runSeed(seed: number, shrinks: boolean): Promise<SeedResult> {
  const startMs = performance.now();
  const plan = planOf(seed);
  const { trace, ...outcome } = await simulate(plan);
  const result: SeedResult = { seed, ...outcome, tookMs: Math.round(performance.now() - startMs) };
  if (outcome.violation === undefined) return result;
  const kind = kindOf(outcome.violation);
  const fails = async (smaller: Plan) => {
    const { violation } = await simulate(smaller);
    return violation !== undefined && kindOf(violation) === kind;
  };
  const smallest = shrinks ? await shrink(plan, fails, SHRINK_MS) : plan;
  const last = smallest === plan ? { ...outcome, trace } : await simulate(smallest);
  result.smallest = { plan: smallest, violation: last.violation ?? "", trace: last.trace };
  return result;
}

async function main({ first, end, step, stopsAtFailure, shrinks }: SeedOrders): Promise<void> {
  // Loads the code that would else be loaded in the middle of a run, by another order of events.
  await lazyChunk();
  for (let seed = first; seed < end; seed += step) {
    const result = await runSeed(seed, shrinks);
    await new Promise<void>((resolve) =>
      process.stdout.write(`${JSON.stringify(result)}\n`, () => resolve()),
    );
    if (result.violation !== undefined && stopsAtFailure) return;
  }
}

await main(JSON.parse(process.argv[2] ?? "") as SeedOrders);
// Members that were killed keep resources that would keep the process running.
process.exit(0);
