/**
 * `fairlead/conformance`: conformance suites for servers of the API, for engines and for clients, for any test runner.
 *
 * @module
 */
export type { Primitive } from "../server/primitives.js";
export type { Case } from "./case.js";
export type { CaseContext } from "./case-context.js";
export { CONFORMANCE_STORES, withConformance } from "./components.js";
export { type EngineTiming, engineConformance } from "./engine.js";
export type { AssertionFacts } from "./expect.js";
export type { Expectation, Failure } from "./expectation.js";
export { createJudge, type Judge, type JudgeOptions, type ScenarioVerdict } from "./judge/judge.js";
export type { Json, Observation, ScenarioOperation } from "./judge/operations.js";
export { type JudgePages, judgePages } from "./judge/pages.js";
export type { Scenario, Script, WireCall } from "./judge/scenario.js";
export { verdictTable } from "./judge/table.js";
export { LAYOTTO } from "./layotto.js";
export { type MirrorRequest, type MirrorResponse, mirrorResponse } from "./mirror.js";
export { NEEDS, type Need } from "./needs.js";
export { type Deviation, FAIRLEAD, type Profile, type Result, type Shortfall } from "./profile.js";
export type { RecordedCall } from "./recorder.js";
export {
  type Counts,
  countResults,
  hasPassed,
  type Report,
} from "./report.js";
export { htmlReport } from "./reports/html.js";
export { jsonReport } from "./reports/json.js";
export { junitReport } from "./reports/junit.js";
export { tapReport } from "./reports/tap.js";
export { textReport } from "./reports/text.js";
export { type ConformanceRule, RULES } from "./rules.js";
export { type Run, type RunOptions, run } from "./run.js";
export { type Outcome, runCase } from "./run-case.js";
export type { Skips, Test } from "./runner.js";
export { missingStores } from "./store-check.js";
export { DEFAULT_STORES, type Stores } from "./stores.js";
export { cases, conformance } from "./suite.js";
export { openTarget, type Target, type TargetOptions } from "./target.js";
