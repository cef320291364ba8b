import type { Operation } from "../operation.js";
import { deadline, type Workload } from "../workload.js";

/** A counter in the state store, which all clients increment by compare-and-set. */
export const counter: Workload = {
  name: "counter",
  paceMs: 15,
  async step(worker) {
    const { fairlead, record } = worker;
    const state = fairlead.state<number>();
    const entry = await record.call({ workload: "counter", kind: "read" }, async () => {
      const { value, etag } = (await state.get("counter", deadline(worker))) ?? { value: 0, etag: undefined };
      return { value, etag };
    });
    if (!entry) return;
    const value = entry.value + 1;
    const condition = entry.etag === undefined ? { ifAbsent: true } : { ifMatch: entry.etag };
    await record.call({ workload: "counter", kind: "increment", input: value }, async () => {
      await state.set("counter", value, { ...condition, ...deadline(worker) });
    });
  },
  async readFinal({ fairlead, record }) {
    await record.call({ workload: "counter", kind: "final" }, async () => {
      return (await fairlead.state<number>().get("counter"))?.value ?? 0;
    });
  },
  check(operations) {
    const final = operations.find(({ kind }) => kind === "final");
    const value = final?.output as number;
    const increments = operations.filter(({ kind }) => kind === "increment");
    const done = byValue(increments.filter(({ outcome }) => outcome === "ok"));
    const perhaps = byValue(increments.filter(({ outcome }) => outcome === "unknown"));
    for (const [to, each] of done) {
      const [first, second] = each;
      if (second)
        throw new Error(`${first?.client} and ${second.client} both incremented to ${to}: one is lost`);
      if (to > value)
        throw new Error(`the increment to ${to} was acknowledged, and the counter ends at ${value}`);
    }
    for (let to = 1; to <= value; to++) {
      if (!done.has(to) && !perhaps.has(to)) throw new Error(`nobody incremented the counter to ${to}`);
    }
    // A read never shows less than what was acknowledged before it began.
    checkReads(operations, increments);
  },
};

const byValue = (operations: readonly Operation[]) => {
  const values = new Map<number, Operation[]>();
  for (const operation of operations) {
    const value = operation.input as number;
    values.set(value, [...(values.get(value) ?? []), operation]);
  }
  return values;
};

function checkReads(operations: readonly Operation[], increments: readonly Operation[]): void {
  const acknowledged = increments
    .filter(({ outcome }) => outcome === "ok")
    .sort((a, b) => a.returnedAt - b.returnedAt);
  const reads = operations
    .filter(({ kind, outcome }) => kind === "read" && outcome === "ok")
    .sort((a, b) => a.calledAt - b.calledAt);
  let least = 0;
  let i = 0;
  for (const { client, calledAt, output } of reads) {
    for (; (acknowledged[i]?.returnedAt ?? Number.POSITIVE_INFINITY) < calledAt; i++) {
      least = Math.max(least, acknowledged[i]?.input as number);
    }
    const { value } = output as { value: number };
    if (value < least)
      throw new Error(`${client} read ${value} at ${calledAt}, after ${least} was acknowledged`);
  }
}
