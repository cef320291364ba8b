import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import { sleep } from "../../src/rpc/sleep.js";
import { hasNatsServer } from "../support/nats-cluster.js";
import { ClusterRun } from "./cluster-run.js";
import { type FaultKind, makeFault, planFaults } from "./faults.js";
import { judge } from "./judge.js";
import { nowMicros } from "./operation.js";
import { longestGap } from "./probe.js";
import { type FaultTime, formatFailure, summarize } from "./run-report.js";

/** The number of faults, more in the nightly run, and the seed of their order: CLUSTER_SEED repeats a run. */
const FAULTS = Number(process.env["CLUSTER_FAULTS"] ?? 20);
const SEED = Number(process.env["CLUSTER_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

/** The kinds of faults, by the names in faults.ts; empty: all. */
const KINDS = (process.env["CLUSTER_KINDS"] ?? "").split(",").filter(Boolean);

/** The time that one fault and the recovery from it take at most, on average. */
const FAULT_MS = 20_000;

const suite = hasNatsServer("faults in a cluster") ? describe : describe.skip;

suite("three NATS nodes, three servers and three clients", () => {
  test(`keep what they acknowledged through ${FAULTS} faults, seed ${SEED}`, {
    timeout: 60_000 + FAULTS * FAULT_MS,
  }, async () => {
    await using run = await ClusterRun.start({ seed: SEED });
    const faults = await makeFaults(run);
    await run.finish();
    const violations = judge(run.operations);
    console.log(summarize(run.operations, faults));
    if (violations.length === 0) return;
    const folder = await mkdtemp(join(tmpdir(), "fairlead-history-"));
    const file = join(folder, "history.jsonl");
    await writeFile(file, run.operations.map((operation) => JSON.stringify(operation)).join("\n"));
    const facts = { seed: SEED, count: FAULTS, file, output: run.output() };
    assert.fail(formatFailure(violations, run.operations, faults, facts));
  });
});

/** Makes all faults, one after the other, each when the cluster has recovered from the last one. */
async function makeFaults(run: ClusterRun): Promise<FaultTime[]> {
  const faults: FaultTime[] = [];
  await sleep(1000);
  for (const [i, planned] of planFaults(SEED, FAULTS, KINDS).entries()) {
    const from = nowMicros();
    const what = await makeFault(run, planned).catch((error) => fail(run, faults, planned.kind, error));
    const healedAt = nowMicros();
    await run.recover().catch((error) => fail(run, faults, `${planned.kind} (${what})`, error));
    await sleep(500);
    const to = nowMicros();
    const gap = longestGap(run.operations, from, to);
    faults.push({ kind: planned.kind, what, from, to, gap });
    const seconds = (micros: number) => (micros / 1e6).toFixed(1);
    console.log(
      `${i + 1}/${FAULTS} ${what}; recovered in ${seconds(to - healedAt)} s, no answer for ${gap.toFixed(2)} s`,
    );
  }
  return faults;
}

function fail(
  run: ClusterRun,
  faults: readonly FaultTime[],
  during: FaultKind | string,
  error: unknown,
): never {
  const before = faults.map(({ what }) => what).join("\n");
  const reason = error instanceof Error ? error.message : String(error);
  throw new Error(`seed ${SEED}, fault ${during}: ${reason}\nafter:\n${before}\n${run.output()}`, {
    cause: error,
  });
}
