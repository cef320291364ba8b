import { createRouterTransport } from "@connectrpc/connect";
import { sleep } from "../../rpc/sleep.js";
import type { Log } from "../../server/context.js";
import { corsFor } from "../../server/http/cors.js";
import { fetchHandler } from "../../server/http/fetch.js";
import { serverPages } from "../../server/http/pages.js";
import { createServer, type Server } from "../../server/server.js";
import { bareTunnels } from "../../server/tunnel/bare-tunnels.js";
import { AssertionError, equal, ok } from "../expect.js";
import type { Observation } from "./operations.js";
import type { Scenario, WireCall } from "./scenario.js";
import { createScenarioServices } from "./scenario-services.js";
import { scenarios as all } from "./scenarios.js";

/** What the judge found of one scenario. */
export interface ScenarioVerdict {
  /** What the client was to do. */
  readonly scenario: Scenario;
  /** What became of it. */
  readonly status: "handled" | "mishandled" | "not tried";
  /** What was not right; "" where nothing was. */
  readonly reason: string;
  /** What the client reported. */
  readonly observation?: Observation;
  /** What came of it over the wire. */
  readonly calls: readonly WireCall[];
}

/** A server that plays every answer a runtime may give, and tells which of them a client mishandled. */
export interface Judge {
  /** To be put behind any door, as every server. */
  readonly server: Server;
  /** What it plays. */
  readonly scenarios: readonly Scenario[];
  /** Judges what a client reports of the scenario `id`, which begins anew with its next call. */
  evaluate(id: string, seen: Observation): Promise<ScenarioVerdict>;
  /** One for each scenario, the last where there were several. */
  verdicts(): ScenarioVerdict[];
}

/** How long a client may take over what it does after it has the answer, in milliseconds. */
const LATE_MS = 2000;

/** What a judge is made of. */
export interface JudgeOptions {
  /** Where its server tells of what it does. Default: nowhere. */
  log?: Log;
  /** What it plays. Default: every scenario. */
  scenarios?: readonly Scenario[];
  /** How long a client may take over what it does after it has reported, in milliseconds. Default: 2000. */
  lateMs?: number;
}

/** Makes a judge of clients. */
export function createJudge({ log, scenarios = all, lateMs = LATE_MS }: JudgeOptions = {}): Judge {
  const played = createScenarioServices(scenarios);
  const verdicts = new Map<string, ScenarioVerdict>();

  return {
    server: createScenarioServer(played.routes, log),
    scenarios,
    async evaluate(id, seen) {
      const scenario = scenarios.find((each) => each.id === id);
      if (!scenario) throw new RangeError(`there is no scenario "${id.slice(0, 100)}"`);
      const why = await findMismatch(scenario, seen, () => played.calls(id), lateMs);
      const calls = played.calls(id);
      played.reset(id);
      const verdict: ScenarioVerdict = {
        scenario,
        status: why === "" ? "handled" : "mishandled",
        reason: why,
        observation: seen,
        calls,
      };
      verdicts.set(id, verdict);
      return verdict;
    },
    verdicts: () =>
      scenarios.map(
        (scenario) => verdicts.get(scenario.id) ?? { scenario, status: "not tried", reason: "", calls: [] },
      ),
  };
}

/** What a client did not do as it must; "" where it did. */
async function findMismatch(
  { expected, checkCalls: wire }: Scenario,
  seen: Observation,
  calls: () => readonly WireCall[],
  lateMs: number,
): Promise<string> {
  const endsAtMs = Date.now() + lateMs;
  for (;;) {
    try {
      ok(calls().length > 0, "the client called");
      checkObservation(expected, seen);
      wire?.(calls());
      return "";
    } catch (error) {
      if (!(error instanceof AssertionError)) throw error;
      if (!wire || Date.now() >= endsAtMs) return error.message;
      await sleep(20);
    }
  }
}

/** Fails where a client reports something else than it must. */
function checkObservation(expected: Scenario["expected"], seen: Observation): void {
  const codes = [expected.code ?? []].flat();
  if (codes.length === 0) equal(seen.code, undefined, "the error");
  else
    ok(
      codes.includes(seen.code ?? ""),
      `the error is ${codes.join(" or ")}: ${seen.code ?? "there was none"}`,
    );
  if (expected.value !== undefined) equal(seen.value, expected.value, "what was reported");
  if (expected.message !== undefined) equal(seen.message, expected.message, "the text of the error");
}

/** A server like any other, but for what it answers: without marks, gates and tables of errors. */
function createScenarioServer(routes: Server["routes"], log: Log | undefined): Server {
  const base = createServer({ config: { cors: { origins: ["*"] } }, ...(log && { log }) });
  const options: Server["options"] = { ...base.options, interceptors: [] };
  return {
    ...base,
    routes,
    options,
    fetch: fetchHandler(routes, options, {
      check: () => undefined,
      cors: corsFor(base.config.cors),
      pages: serverPages(base),
    }),
    transport: () => createRouterTransport(routes, { router: options }),
    tunnels: bareTunnels(routes, options),
  };
}
