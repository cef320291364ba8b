import { countResults, type Report, resultReason, statusOf } from "../report.js";

/** The report as JSON: every case with its outcome, and the calls of failed cases. */
export function jsonReport({ server, profile, at, runs }: Report): string {
  const runReports = runs.map(({ transport, ms, results, unseenDeviations, shortfalls, lost }) => ({
    transport,
    ms: Math.round(ms),
    ...countResults(results),
    ...(lost !== undefined && { lost }),
    shortfalls,
    unseenDeviations: unseenDeviations.map(({ primitive, rule, reason }) => ({ primitive, rule, reason })),
    cases: results.map((result) => ({
      primitive: result.case.primitive,
      name: result.case.name,
      rule: result.case.rule,
      status: statusOf(result),
      ...(resultReason(result) && { reason: resultReason(result) }),
      ...(result.outcome.status === "failed" && { calls: result.outcome.calls }),
    })),
  }));
  return `${JSON.stringify({ server, profile, at, runs: runReports }, undefined, 2)}\n`;
}
