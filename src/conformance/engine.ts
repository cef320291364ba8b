import type { Engine } from "../server/engine.js";
import { engineBlobCases } from "./engine/blobs.js";
import { engineCloseCases } from "./engine/close.js";
import { engineKeyCases } from "./engine/keys.js";
import { engineLogCases } from "./engine/logs.js";
import { engineTopicCases } from "./engine/topics.js";
import { engineWatchCases } from "./engine/watch.js";
import { within } from "./expect.js";
import type { Test } from "./runner.js";

/** No case takes a second; one that is not done by then waits for what does not come. */
const PATIENCE_MS = 10_000;

/**
 * What every engine must do, all of it: there is no way to skip a case. `open` makes an engine that holds nothing;
 * each case opens its own and closes it.
 */
export function engineConformance(test: Test, open: () => Promise<Engine>): void {
  const on: DeclareEngineCase = (name, run) =>
    test(name, async () => {
      const engine = await open();
      try {
        await within(PATIENCE_MS, run(engine), name);
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

/** Declares a case that is given an engine of its own. */
export type DeclareEngineCase = (name: string, run: (engine: Engine) => Promise<void>) => void;
