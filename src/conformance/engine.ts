import type { Engine } from "../server/engine.js";
import { engineBlobCases } from "./engine/blobs.js";
import { engineCloseCases } from "./engine/close.js";
import { engineKeyCases } from "./engine/keys.js";
import { engineLogCases } from "./engine/logs.js";
import { engineTopicCases } from "./engine/topics.js";
import { engineWatchCases } from "./engine/watch.js";
import { within } from "./expect.js";
import type { Test } from "./runner.js";

/** The timeout of a case. On an engine in the same process no case needs a second. */
const TIMEOUT_MS = 10_000;

/** How long cases let time pass. */
export interface EngineTiming {
  /**
   * The lifetime of entries and the delay of events that a case waits for, in milliseconds. It must be longer than an
   * operation of the engine takes. Default: 40, which is for an engine in the same process.
   */
  shortMs: number;
}

/**
 * Declares the cases that every engine must pass. None can be skipped. `open` creates an empty engine; each case opens
 * its own and closes it. An engine that calls others over a network may need other times.
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
export function engineConformance(
  test: Test,
  open: () => Promise<Engine>,
  { shortMs = 40 }: Partial<EngineTiming> = {},
): void {
  const on: DeclareEngineCase = (name, run) =>
    test(name, async () => {
      const engine = await open();
      try {
        await within(TIMEOUT_MS, run(engine, { shortMs }), name);
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
export type DeclareEngineCase = (
  name: string,
  run: (engine: Engine, timing: EngineTiming) => Promise<void>,
) => void;
