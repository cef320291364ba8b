import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { RunEvent, RunOrder } from "./run-cases.js";

/** A process that prints nothing for so long is killed. A case that blocks the event loop cannot time out by itself. */
const SILENCE_MS = 20_000;

/** The timeout of a process. */
const LIMIT_MS = 120_000;

/** The result of one process. */
export interface Trial {
  /** Indexes of the failed cases, with the reasons. */
  readonly failed: ReadonlyMap<number, string>;
  /** The number of cases that ended. */
  readonly ended: number;
  /** Indexes of the cases that were running when the process ended. */
  readonly open: ReadonlySet<number>;
  /** The reason if the server did not run. */
  readonly broken: string | undefined;
}

/** Runs cases in a process of their own. */
async function runOnce(runner: string, orders: RunOrder): Promise<Trial> {
  const child = spawn(process.execPath, [runner, JSON.stringify(orders)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stopped = false;
  const stop = () => {
    stopped = true;
    child.kill("SIGKILL");
  };
  const limit = setTimeout(stop, LIMIT_MS);
  const silence = setTimeout(stop, SILENCE_MS);
  const failed = new Map<number, string>();
  const open = new Set<number>();
  let ended = 0;
  let broken: string | undefined;
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-500);
  });
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    silence.refresh();
    const event = JSON.parse(line) as RunEvent;
    if ("broken" in event) broken = event.broken;
    else if ("began" in event) open.add(event.began);
    else {
      ended++;
      open.delete(event.ended);
      if (event.why !== undefined) failed.set(event.ended, event.why);
    }
  }
  const status = await closed;
  clearTimeout(limit);
  clearTimeout(silence);
  if (stopped && ended + open.size === 0) broken = "no case began";
  if (status !== 0 && !stopped) broken ??= errors.trim() || `status ${status}`;
  return { failed, ended, open, broken };
}

/** Like runOnce(). If the process had to be killed, runs `first` again one at a time, to find the case that blocks. */
export async function runWithRetry(runner: string, orders: RunOrder): Promise<Trial & { hung: boolean }> {
  const trial = await runOnce(runner, orders);
  if (trial.broken !== undefined || trial.open.size === 0) return { ...trial, hung: false };
  const again = await runOnce(runner, { ...orders, rest: [], atOnce: 1 });
  const failed = new Map([...trial.failed, ...again.failed]);
  for (const i of again.open) failed.set(i, "not done when its process was stopped");
  return { ...again, failed, hung: true };
}
