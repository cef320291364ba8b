import { createClient, type Fairlead } from "fairlead";
import type { Case, CaseResult, Setting, TestedTransport } from "./case.js";

/** The time limit of a case, in milliseconds. On a busy machine too a case needs only a fraction of it. */
const CASE_MS = 20_000;

/** Runs each case over each transport, one after the other. Calls `onResult` after each, and returns all results. */
export async function run(
  transports: readonly TestedTransport[],
  cases: Readonly<Record<string, readonly Case[]>>,
  setting: Setting,
  onResult: (result: CaseResult) => void = () => {},
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const tested of transports) {
    for (const [primitive, primitiveCases] of Object.entries(cases)) {
      for (const testCase of primitiveCases) {
        const labels = { runtime: setting.runtime, transport: tested.name, primitive, case: testCase.name };
        const startMs = performance.now();
        const outcome = await outcomeOf(testCase, tested, setting, results.length);
        const result = { ...labels, ...outcome, tookMs: Math.round(performance.now() - startMs) };
        results.push(result);
        onResult(result);
      }
    }
    await tested.close?.();
  }
  return results;
}

async function outcomeOf(
  testCase: Case,
  tested: TestedTransport,
  setting: Setting,
  number: number,
): Promise<Pick<CaseResult, "outcome" | "reason">> {
  const lacks = testCase.needs?.map((need) => tested.lacks(need)) ?? [];
  const reason = [tested.absent, ...lacks].find((each) => each !== undefined);
  if (reason !== undefined) return { outcome: "skipped", reason };
  const opened: Fairlead[] = [];
  const another = (appId?: string): Fairlead => {
    const fl = createClient(tested.open(appId));
    opened.push(fl);
    return fl;
  };
  const id = `${setting.runtime}-${tested.name}-${number}`.replaceAll(/\W+/g, "-");
  try {
    await withTimeout(CASE_MS, testCase.run({ fl: another(), id, setting, tested, another }));
    return { outcome: "ok" };
  } catch (error) {
    return { outcome: "failed", reason: reasonOf(error) };
  } finally {
    await Promise.all(opened.map((fl) => fl.close()));
  }
}

/** Rejects if `task` takes longer than `ms`. Counts ticks, so that time in which the machine was paused does not count. */
async function withTimeout(ms: number, task: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setInterval> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    let remainingMs = ms;
    timer = setInterval(() => {
      remainingMs -= TICK_MS;
      if (remainingMs <= 0) reject(new Error(`not done after ${ms} ms`));
    }, TICK_MS);
  });
  await Promise.race([task, timeout]).finally(() => clearInterval(timer));
}

const TICK_MS = 100;

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `; because of ${reasonOf(error.cause)}`;
  const where = error.cause === undefined ? (error.stack ?? "").split("\n").slice(1, 5).join(" ") : "";
  return `${error.name}: ${error.message}${cause} ${where}`.trim();
}
