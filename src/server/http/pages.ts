import { runAfter } from "../../lib/timer.js";
import type { Engine } from "../engine.js";

/** How long the engine may take to answer before it counts as away. */
const ANSWER_MS = 2000;

/** For how long an answer of the engine stands, so that no number of questions makes many calls of it. */
const STANDS_MS = 250;

/** A key that no service writes: what is asked for is an answer, not a value. */
const NOBODYS_KEY = "\0ready";

/** Whether a server can take calls now, and why not. */
export type Readiness = { ready: true } | { ready: false; why: string };

/** Asks whether a server with this engine is to be sent calls: not once it drains or closes, nor while the engine is away. */
export function readiness(engine: Engine, draining: AbortSignal): () => Promise<Readiness> {
  let last: { answer: Promise<Readiness>; untilMs: number } | undefined;
  return async () => {
    if (draining.aborted) return { ready: false, why: "the server is closing" };
    if (!last || last.untilMs < performance.now()) {
      const asked = { answer: ask(engine), untilMs: Number.POSITIVE_INFINITY };
      last = asked;
      void asked.answer.then(() => {
        asked.untilMs = performance.now() + STANDS_MS;
      });
    }
    return last.answer;
  };
}

function ask(engine: Engine): Promise<Readiness> {
  const away: Readiness = { ready: false, why: `the ${engine.name} engine is away` };
  return new Promise((resolve) => {
    const callOff = runAfter(ANSWER_MS, () => resolve(away));
    engine.keys
      .get(NOBODYS_KEY)
      .then(
        () => resolve({ ready: true }),
        () => resolve(away),
      )
      .finally(callOff);
  });
}

/** A page for those who look after the server. */
export interface HealthPage {
  status: number;
  body: Record<string, string>;
}

/** Whether the server is alive (`/healthz`), and whether it can take calls (`/readyz`); undefined at any other path. */
export function healthPage(path: string, ready: () => Promise<Readiness>): Promise<HealthPage> | undefined {
  if (path === "/healthz") return Promise.resolve({ status: 200, body: { status: "ok" } });
  if (path === "/readyz") return ready().then(readyPage);
  return undefined;
}

const readyPage = (answer: Readiness): HealthPage =>
  answer.ready
    ? { status: 200, body: { status: "ready" } }
    : { status: 503, body: { status: "not ready", why: answer.why } };
