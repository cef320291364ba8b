import { counted, kindOf, type Report, whyOf } from "../report.js";

/** The report as JSON: every case with what came of it, and the calls of those that failed. */
export function jsonReport({ server, profile, at, runs }: Report): string {
  const told = runs.map(({ way, ms, results, gone, shortfalls, lost }) => ({
    way,
    ms: Math.round(ms),
    ...counted(results),
    ...(lost !== undefined && { lost }),
    shortfalls,
    gone: gone.map(({ primitive, rule, why }) => ({ primitive, rule, why })),
    cases: results.map((result) => ({
      primitive: result.case.primitive,
      name: result.case.name,
      rule: result.case.rule,
      status: kindOf(result),
      ...(whyOf(result) && { why: whyOf(result) }),
      ...(result.outcome.status === "failed" && { calls: result.outcome.calls }),
    })),
  }));
  return `${JSON.stringify({ server, profile, at, runs: told }, undefined, 2)}\n`;
}
