import type { Primitive } from "../server/primitives.js";
import { bindingCases } from "./bindings.js";
import type { Case } from "./case.js";
import { configurationCases } from "./configuration.js";
import { fileCases } from "./files.js";
import { gossipMapCases } from "./gossip-map.js";
import { helloCases } from "./hello.js";
import { lifecycleCases } from "./lifecycle.js";
import { lockCases } from "./lock.js";
import { logCases } from "./log.js";
import { mapCases } from "./map.js";
import { pubsubCases } from "./pubsub.js";
import { formatCall, runCase } from "./run-case.js";
import type { Test } from "./runner.js";
import { secretCases } from "./secrets.js";
import { sequencerCases } from "./sequencer.js";
import { serviceCases } from "./service.js";
import { stateCases } from "./state.js";
import type { Target } from "./target.js";

const CASES: Readonly<Record<Primitive, readonly Case[]>> = {
  hello: helloCases,
  state: stateCases,
  lock: lockCases,
  sequencer: sequencerCases,
  pubsub: pubsubCases,
  files: fileCases,
  map: mapCases,
  gossipMap: gossipMapCases,
  log: logCases,
  configuration: configurationCases,
  secrets: secretCases,
  bindings: bindingCases,
  service: serviceCases,
  lifecycle: lifecycleCases,
};

/** All cases of the suite. */
export const cases: readonly Case[] = Object.values(CASES).flat();

/**
 * Declares all cases of the suite with the `test` function of a runner. `open` returns the server under test. It may
 * return the same one for all cases: cases share no data and may run at the same time.
 *
 * @example
 * ```ts no-run
 * import { test } from "node:test";
 * import { conformance, openTarget } from "fairlead/conformance";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const transport = createNodeTransport("http://localhost:34904");
 * const target = await openTarget({ transport });
 * conformance(test, () => target);
 * ```
 */
export function conformance(test: Test, open: (one: Case) => Target | Promise<Target>): void {
  for (const one of cases) {
    test(`${one.primitive}: ${one.name}`, async (context) => {
      const outcome = await runCase(one, await open(one));
      if (outcome.status === "skipped") context?.skip?.(outcome.reason);
      if (outcome.status !== "failed") return;
      const { error, calls } = outcome;
      error.message = [error.message, ...calls.map(formatCall)].join("\n");
      throw error;
    });
  }
}
