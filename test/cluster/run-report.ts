import type { FaultKind } from "./faults.js";
import type { Violation } from "./judge.js";
import type { Operation } from "./operation.js";
import { countSkipped } from "./workloads/events.js";
import { workloads } from "./workloads.js";

/** A fault that was made, from its beginning until the cluster had recovered, in microseconds. */
export interface FaultTime {
  kind: FaultKind;
  what: string;
  from: number;
  to: number;
  /** The longest time in which a client got no answer, in seconds. */
  gap: number;
}

/** How many operations of a failure are printed. */
const MOST_OPERATIONS = 30;

/** The numbers of a run: operations by workload and outcome, and the longest gaps by kind of fault. */
export function summarize(operations: readonly Operation[], faults: readonly FaultTime[]): string {
  const lines = ["workload     ok      refused  unknown"];
  for (const name of [...workloads.map(({ name }) => name), "probe"]) {
    const own = operations.filter(({ workload }) => workload === name);
    const count = (wanted: Operation["outcome"]) => own.filter(({ outcome }) => outcome === wanted).length;
    const cells = [count("ok"), count("refused"), count("unknown")].map((cell) => String(cell).padEnd(8));
    lines.push(`${name.padEnd(12)} ${cells.join(" ")}`);
  }
  lines.push(`${operations.length} operations and observations, ${faults.length} faults`);
  const skipped = countSkipped(operations);
  if (skipped > 0) lines.push(`${skipped} events that waited for a group were skipped when a disk was full`);
  const gapsOf = (...kinds: FaultKind[]) =>
    faults.filter(({ kind }) => kinds.includes(kind)).map(({ gap }) => gap);
  const gaps: [string, number[]][] = [
    ["a reference server was killed", gapsOf("killServer")],
    ["the leader of the keys was killed", gapsOf("killKeysLeader")],
    [
      "anything else",
      faults.filter(({ kind }) => !["killServer", "killKeysLeader"].includes(kind)).map(({ gap }) => gap),
    ],
  ];
  for (const [when, all] of gaps) {
    if (all.length === 0) continue;
    const [longest, median] = [
      Math.max(...all),
      all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0,
    ];
    lines.push(
      `no answer when ${when}: at most ${longest.toFixed(2)} s, median ${median.toFixed(2)} s, of ${all.length}`,
    );
  }
  return lines.join("\n");
}

/** What was wrong, with what leads to it: the seed, the faults, and the operations that have to do with it. */
export function formatFailure(
  violations: readonly Violation[],
  operations: readonly Operation[],
  faults: readonly FaultTime[],
  facts: { seed: number; count: number; file: string; output: string },
): string {
  const { seed, count, file, output } = facts;
  const start = Math.min(...operations.map(({ calledAt }) => calledAt));
  const seconds = (at: number) => ((at - start) / 1e6).toFixed(3);
  const schedule = faults.map(({ what, from, to }) => `  ${seconds(from)} to ${seconds(to)}: ${what}`);
  const parts = violations.flatMap(({ workload, message }) => [
    `${workload}: ${message}`,
    ...relevant(
      operations.filter((operation) => operation.workload === workload),
      message,
    ).map((operation) => `  ${formatOperation(operation, seconds)}`),
  ]);
  return [
    `${violations.length} checks failed; CLUSTER_SEED=${seed} CLUSTER_FAULTS=${count} repeats the faults`,
    ...parts,
    "faults, in seconds:",
    ...schedule,
    `the whole history is in ${file}`,
    output,
  ].join("\n");
}

/** The operations whose values the message names, and what is around the first of them if there is room. */
function relevant(operations: readonly Operation[], message: string): Operation[] {
  const named = new Set(message.match(/c\d\.\d+(\.\d+)?|\b\d{2,}\b/g) ?? []);
  const values = ({ input, output }: Operation) => JSON.stringify([input, output]).match(/[\w.]+/g) ?? [];
  const hits = operations.filter((operation) => values(operation).some((value) => named.has(value)));
  return hits.sort((a, b) => a.calledAt - b.calledAt).slice(0, MOST_OPERATIONS);
}

function formatOperation(
  { client, kind, key, input, output, calledAt, returnedAt, outcome, error }: Operation,
  seconds: (at: number) => string,
): string {
  const text = (value: unknown) => (value === undefined ? "" : ` ${JSON.stringify(value)}`);
  return (
    `${seconds(calledAt)} to ${seconds(returnedAt)} ${client} ${kind}${key && ` ${JSON.stringify(key)}`}${text(input)}: ` +
    `${outcome}${text(output)}${error ? ` ${error}` : ""}`
  );
}
