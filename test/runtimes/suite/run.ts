import { createClient, type Fairlead } from "fairlead";
import type { Case, Door, Setting, Told } from "./case.js";

/** The longest that a case may take, in milliseconds: on a busy machine too it needs a fraction of it. */
const CASE_MS = 20_000;

/** Runs each of `cases` through each of `doors`, one after the other, and tells of all of them, of each as it ends. */
export async function run(
  doors: readonly Door[],
  cases: Readonly<Record<string, readonly Case[]>>,
  setting: Setting,
  tell: (told: Told) => void = () => {},
): Promise<Told[]> {
  const told: Told[] = [];
  for (const door of doors) {
    for (const [primitive, each] of Object.entries(cases)) {
      for (const one of each) {
        const what = { runtime: setting.runtime, transport: door.name, primitive, case: one.name };
        const beganMs = performance.now();
        const became = await outcome(one, door, setting, told.length);
        const all = { ...what, ...became, tookMs: Math.round(performance.now() - beganMs) };
        told.push(all);
        tell(all);
      }
    }
    await door.close?.();
  }
  return told;
}

async function outcome(
  one: Case,
  door: Door,
  setting: Setting,
  number: number,
): Promise<Pick<Told, "outcome" | "reason">> {
  const lacks = one.needs?.map((need) => door.lacks(need)) ?? [];
  const why = [door.absent, ...lacks].find((reason) => reason !== undefined);
  if (why !== undefined) return { outcome: "skipped", reason: why };
  const opened: Fairlead[] = [];
  const another = (appId?: string): Fairlead => {
    const fl = createClient(door.open(appId));
    opened.push(fl);
    return fl;
  };
  const id = `${setting.runtime}-${door.name}-${number}`.replaceAll(/\W+/g, "-");
  try {
    await within(CASE_MS, one.run({ fl: another(), id, setting, door, another }));
    return { outcome: "ok" };
  } catch (error) {
    return { outcome: "failed", reason: reasonOf(error) };
  } finally {
    await Promise.all(opened.map((fl) => fl.close()));
  }
}

/** Counts ticks, not the clock: a machine that stood still meanwhile has taken nothing of the case's time. */
async function within(ms: number, task: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setInterval> | undefined;
  const late = new Promise<never>((_, reject) => {
    let leftMs = ms;
    timer = setInterval(() => {
      leftMs -= TICK_MS;
      if (leftMs <= 0) reject(new Error(`not done after ${ms} ms`));
    }, TICK_MS);
  });
  await Promise.race([task, late]).finally(() => clearInterval(timer));
}

const TICK_MS = 100;

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `; because of ${reasonOf(error.cause)}`;
  const where = error.cause === undefined ? (error.stack ?? "").split("\n").slice(1, 5).join(" ") : "";
  return `${error.name}: ${error.message}${cause} ${where}`.trim();
}
