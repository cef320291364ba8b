import { runAfter } from "../../lib/timer.js";
import type { Engine } from "../engine.js";

/** How long the engine may take to answer before the server counts as not ready, in milliseconds. */
const ANSWER_MS = 2000;

/** How long an answer of the engine is reused, in milliseconds, so that many requests make few calls of the engine. */
const REUSE_MS = 250;

/** A key that no service writes: the check needs an answer, not a value. */
const UNUSED_KEY = "\0ready";

/** Whether a server can take calls now; if it cannot, `why` says the reason. */
export type Readiness = { ready: true } | { ready: false; why: string };

/**
 * Returns a function that checks whether a server with this engine is ready: it is not once it drains or closes, nor
 * while the engine does not answer.
 */
export function readiness(engine: Engine, draining: AbortSignal): () => Promise<Readiness> {
  let last: { result: Promise<Readiness>; untilMs: number } | undefined;
  return async () => {
    if (draining.aborted) return { ready: false, why: "the server is closing" };
    if (!last || last.untilMs < performance.now()) {
      const check = { result: checkEngine(engine), untilMs: Number.POSITIVE_INFINITY };
      last = check;
      void check.result.then(() => {
        check.untilMs = performance.now() + REUSE_MS;
      });
    }
    return last.result;
  };
}

function checkEngine(engine: Engine): Promise<Readiness> {
  const away: Readiness = { ready: false, why: `the ${engine.name} engine is away` };
  return new Promise((resolve) => {
    const stopTimer = runAfter(ANSWER_MS, () => resolve(away));
    engine.keys
      .get(UNUSED_KEY)
      .then(
        () => resolve({ ready: true }),
        () => resolve(away),
      )
      .finally(stopTimer);
  });
}
