import { createRouterTransport } from "@connectrpc/connect";
import { sleep } from "../../rpc/sleep.js";
import type { Logger } from "../../server/context.js";
import { createCors } from "../../server/http/cors.js";
import { fetchHandler } from "../../server/http/fetch.js";
import { serverPages } from "../../server/http/pages.js";
import { createServer, type Server } from "../../server/server.js";
import { bareTunnels } from "../../server/tunnel/bare-tunnels.js";
import { AssertionError, equal, ok } from "../expect.js";
import type { Observation } from "./operations.js";
import type { Scenario, WireCall } from "./scenario.js";
import { createScenarioServices } from "./scenario-services.js";
import { scenarios as all } from "./scenarios.js";

/** The judge's verdict on one scenario. */
export interface ScenarioVerdict {
  /** The scenario. */
  readonly scenario: Scenario;
  /** Whether the client handled it. */
  readonly status: "handled" | "mishandled" | "not tried";
  /** The first mistake; "" if there is none. */
  readonly reason: string;
  /** The client's report. */
  readonly observation?: Observation;
  /** The calls that the client made. */
  readonly calls: readonly WireCall[];
}

/** A server that gives every answer that a runtime may give, and judges how a client handles it. */
export interface Judge {
  /** The server that clients call: pass it to listen(), or use its transport(). */
  readonly server: Server;
  /** The scenarios that it serves. */
  readonly scenarios: readonly Scenario[];
  /** Judges the client's report on the scenario `id`. The scenario starts again with its next call. */
  evaluate(id: string, seen: Observation): Promise<ScenarioVerdict>;
  /** The last verdict of each scenario. */
  verdicts(): ScenarioVerdict[];
}

/** The default of `lateMs`. */
const LATE_MS = 2000;

/** Options of createJudge(). */
export interface JudgeOptions {
  /** The log of the server. Default: none. */
  log?: Logger;
  /** The scenarios. Default: all. */
  scenarios?: readonly Scenario[];
  /** The time for calls that a client makes after its report, such as a release, in milliseconds. Default: 2000. */
  lateMs?: number;
}

/**
 * Creates a judge of clients.
 *
 * @example
 * ```ts
 * import { createJudge } from "fairlead/conformance";
 * import { listen } from "fairlead/server/node";
 *
 * const judge = createJudge();
 * await using server = await listen(judge.server, { port: 0 });
 * console.log(judge.scenarios.length > 100); // true
 * ```
 */
export function createJudge({ log, scenarios = all, lateMs = LATE_MS }: JudgeOptions = {}): Judge {
  const played = createScenarioServices(scenarios);
  const verdicts = new Map<string, ScenarioVerdict>();

  return {
    server: createScenarioServer(played.routes, log),
    scenarios,
    async evaluate(id, seen) {
      const scenario = scenarios.find((candidate) => candidate.id === id);
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

/** The first mistake of the client; "" if there is none. Waits up to `lateMs` for late calls. */
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

/** Fails if the client's report is not the expected one. */
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

/** A server with these routes, without Fairlead's headers, access checks and error mapping. */
function createScenarioServer(routes: Server["routes"], log: Logger | undefined): Server {
  const base = createServer({ config: { cors: { origins: ["*"] } }, ...(log && { log }) });
  const options: Server["options"] = { ...base.options, interceptors: [] };
  return {
    ...base,
    routes,
    options,
    // Like the tunnels: no steps of the pipeline, and so no server header.
    dispatch: { ...base.dispatch, routes, admit: () => ({}) },
    fetch: fetchHandler(routes, options, {
      check: () => undefined,
      cors: createCors(base.config.cors),
      pages: serverPages(base),
    }),
    transport: () => createRouterTransport(routes, { router: options }),
    tunnels: bareTunnels(routes, options),
  };
}
