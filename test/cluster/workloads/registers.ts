import {
  checkRegister,
  type RegisterStep,
  type StepResult,
} from "../../../src/conformance/history/register.js";
import { groupBy, nowMicros, type Operation, toRecorded } from "../operation.js";
import { choose, deadline, type Worker, type Workload } from "../workload.js";

/** For how long one key is used. Short histories keep the search for an order short. */
const EPOCH_MICROS = 3_000_000;

/** Keys of the state store that all clients read, write, exchange and delete. */
export const registers: Workload = {
  name: "registers",
  paceMs: 12,
  async step(worker, number) {
    const { fairlead, record } = worker;
    const state = fairlead.state<string>();
    const epoch = Math.floor(nowMicros() / EPOCH_MICROS);
    const key = `register-${choose(worker, ["a", "b"])}-${epoch}`;
    const call = { workload: "registers", key };
    const kind = choose(worker, ["read", "read", "write", "exchange", "exchange", "delete"]);
    const value = `${worker.name}.${number}`;
    if (kind === "exchange") return exchange(worker, key, value);
    if (kind === "read") {
      await record.call({ ...call, kind }, async () => (await state.get(key, deadline(worker)))?.value);
    } else if (kind === "write") {
      await record.call({ ...call, kind, input: value }, async () => {
        await state.set(key, value, deadline(worker));
      });
    } else {
      await record.call({ ...call, kind }, () => state.delete(key, deadline(worker)));
    }
  },
  check: (operations) => checkRegisters(operations),
};

/** Reads the key and replaces its value if that has not changed. */
async function exchange(worker: Worker, key: string, value: string): Promise<void> {
  const { fairlead, record } = worker;
  const state = fairlead.state<string>();
  const entry = await state.get(key, deadline(worker)).catch(() => undefined);
  const condition = entry ? { ifMatch: entry.etag } : { ifAbsent: true };
  const call = { workload: "registers", kind: "exchange", key, input: { expected: entry?.value, value } };
  await record.call(call, async () => {
    await state.set(key, value, { ...condition, ...deadline(worker) });
  });
}

/** Fails unless the reads, writes, exchanges and deletions of each key are linearizable. */
export function checkRegisters(operations: readonly Operation[]): void {
  for (const [key, each] of groupBy(operations, (operation) => operation.key)) {
    checkRegister(key, each.flatMap(toStep));
  }
}

function toStep(operation: Operation) {
  const { kind, input, output, outcome } = operation;
  const recorded = (step: RegisterStep, result: StepResult) => [toRecorded(operation, step, result)];
  if (kind === "exchange") {
    const { expected, value } = input as { expected?: string; value: string };
    const step = { do: "exchange", expected, value } as const;
    if (outcome !== "refused") return recorded(step, { isDone: true });
    // Of the refusals only a conflict says something of the value.
    const isConflict = operation.error?.includes("[aborted]");
    return isConflict ? [{ ...toRecorded({ ...operation, outcome: "ok" }, step, { isDone: false }) }] : [];
  }
  if (kind === "read") {
    return outcome === "ok" ? recorded({ do: "read" }, { value: output as string | undefined }) : [];
  }
  if (outcome === "refused") return [];
  return recorded({ do: "write", value: kind === "delete" ? undefined : (input as string) }, {});
}
