import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Orders, Told } from "./judge.js";

/**
 * How long a judge may say nothing. Its cases have a limit each, less than that, which cannot end one that never lets go
 * of the process.
 */
const SILENCE_MS = 20_000;

/** How long a judge may take in all. */
const LIMIT_MS = 120_000;

/** What a judge told. */
export interface Trial {
  /** Places of the cases that failed, with why. */
  readonly failed: ReadonlyMap<number, string>;
  /** How many cases came to an end. */
  readonly ended: number;
  /** Places of the cases that were under way when the judge was stopped, or ended by itself. */
  readonly open: ReadonlySet<number>;
  /** Why there is nothing to tell: no server, or none that lives. */
  readonly broken: string | undefined;
}

/** Runs a judge in a process of its own. */
async function tried(judge: string, orders: Orders): Promise<Trial> {
  const child = spawn(process.execPath, [judge, JSON.stringify(orders)], {
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
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-500);
  });
  const over = new Promise<number | null>((resolve) => child.on("close", resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    silence.refresh();
    const told = JSON.parse(line) as Told;
    if ("broken" in told) broken = told.broken;
    else if ("began" in told) open.add(told.began);
    else {
      ended++;
      open.delete(told.ended);
      if (told.why !== undefined) failed.set(told.ended, told.why);
    }
  }
  const status = await over;
  clearTimeout(limit);
  clearTimeout(silence);
  if (stopped && ended + open.size === 0) broken = "it never came to the first case";
  if (status !== 0 && !stopped) broken ??= complaint.trim() || `status ${status}`;
  return { failed, ended, open, broken };
}

/** As `tried`; where the process had to be stopped, the case that is to blame is found by running `first` one at a time. */
export async function triedToTheEnd(judge: string, orders: Orders): Promise<Trial & { hung: boolean }> {
  const trial = await tried(judge, orders);
  if (trial.broken !== undefined || trial.open.size === 0) return { ...trial, hung: false };
  const again = await tried(judge, { ...orders, rest: [], atOnce: 1 });
  const failed = new Map([...trial.failed, ...again.failed]);
  for (const i of again.open) failed.set(i, "not done when its process was stopped");
  return { ...again, failed, hung: true };
}
