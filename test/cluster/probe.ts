import { sleep } from "../../src/rpc/sleep.js";
import type { Operation } from "./operation.js";
import type { Worker } from "./workload.js";

const MICROS_PER_SECOND = 1_000_000;

/** The deadline of one call of the probe, in milliseconds. */
const TIMEOUT_MS = 1000;

/** Writes one key all the time, with short deadlines, to measure for how long nothing is answered. */
export async function runProbe({ fairlead, record, name, stopped }: Worker): Promise<void> {
  const state = fairlead.state<number>();
  for (let i = 0; !stopped.aborted; i++) {
    await record.call({ workload: "probe", kind: "write", key: name }, async () => {
      await state.set(`probe-${name}`, i, { timeoutMs: TIMEOUT_MS });
    });
    await sleep(10);
  }
}

/** A client's longest time without an answer, in seconds, between two times. */
export function longestGap(operations: readonly Operation[], from: number, to: number): number {
  const answers = operations
    .filter(({ workload, outcome }) => workload === "probe" && outcome === "ok")
    .filter(({ returnedAt }) => returnedAt >= from && returnedAt <= to);
  const clients = new Set(answers.map(({ client }) => client));
  let longest = 0;
  for (const client of clients) {
    let last = from;
    for (const answer of answers) {
      if (answer.client !== client) continue;
      longest = Math.max(longest, answer.returnedAt - last);
      last = answer.returnedAt;
    }
    longest = Math.max(longest, to - last);
  }
  return longest / MICROS_PER_SECOND;
}
