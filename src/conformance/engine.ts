import type { Engine } from "../server/engine.js";
import { engineBlobCases } from "./engine/blobs.js";
import { engineCloseCases } from "./engine/close.js";
import { engineKeyCases } from "./engine/keys.js";
import { engineLogCases } from "./engine/logs.js";
import { engineTopicCases } from "./engine/topics.js";
import { engineWatchCases } from "./engine/watch.js";
import { within } from "./expect.js";
import type { Test } from "./runner.js";

/** The timeout of a case. No case needs a second. */
const TIMEOUT_MS = 10_000;

/**
 * Declares the cases that every engine must pass. None can be skipped. `open` creates an empty engine; each case opens
 * its own and closes it.
 *
 * @example
 * ```ts no-run
 * import { test } from "node:test";
 * import { engineConformance } from "fairlead/conformance";
 * import { memoryEngine } from "fairlead/server";
 *
 * engineConformance(test, async () => memoryEngine()); // or your own engine
 * ```
 */
export function engineConformance(test: Test, open: () => Promise<Engine>): void {
  const on: DeclareEngineCase = (name, run) =>
    test(name, async () => {
      const engine = await open();
      try {
        await within(TIMEOUT_MS, run(engine), name);
      } finally {
        await engine.close();
      }
    });
  for (const cases of [
    engineKeyCases,
    engineWatchCases,
    engineLogCases,
    engineTopicCases,
    engineBlobCases,
    engineCloseCases,
  ])
    cases(on);
}

/** Declares a case that runs on an engine of its own. */
export type DeclareEngineCase = (name: string, run: (engine: Engine) => Promise<void>) => void;
