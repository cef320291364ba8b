import { groupBy, type Operation } from "../operation.js";
import { deadline, type Worker, type Workload } from "../workload.js";

/** A configuration that each client follows, and in which each client has an item of its own that it counts up. */
export const settings: Workload = {
  name: "settings",
  paceMs: 100,
  async open(worker) {
    const configuration = await worker.fairlead.configuration().open({ signal: worker.ended });
    void followChanges(worker, configuration.changes());
  },
  async step(worker, number) {
    const { withoutRetry, record, name } = worker;
    await record.call({ workload: "settings", kind: "save", key: name, input: number + 1 }, () =>
      withoutRetry.configuration().save({ [name]: String(number + 1) }, deadline(worker)),
    );
  },
  isComplete(operations) {
    const last = new Map<string, number>();
    for (const { key, input } of saved(operations)) last.set(key, input as number);
    return [...watchers(operations).values()].every((changes) =>
      [...last].every(([key, value]) => {
        const seen = changes.filter((change) => change.key === key);
        return Math.max(0, ...seen.map(({ input }) => input as number)) >= value;
      }),
    );
  },
  check(operations) {
    const acknowledged = groupBy(saved(operations), ({ key }) => key);
    for (const [watcher, changes] of watchers(operations)) {
      for (const [key, saves] of acknowledged) {
        const known = new Set(saves.map(({ input }) => input as number));
        const seen = changes.filter((change) => change.key === key).map(({ input }) => input as number);
        checkOrder(
          `${watcher}, ${key}`,
          seen.filter((value) => known.has(value)),
        );
        const last = Math.max(...known);
        if (Math.max(0, ...seen) < last) throw new Error(`watcher ${watcher} of ${key} never got ${last}`);
      }
    }
  },
};

async function followChanges(
  { record, ended }: Worker,
  changes: AsyncIterable<{ key: string; value: string | undefined }>,
): Promise<void> {
  try {
    for await (const { key, value } of changes) {
      record.note({ workload: "settings", kind: "change", key, input: Number(value) });
    }
  } catch (error) {
    if (!ended.aborted)
      await record.call({ workload: "settings", kind: "follow" }, () => Promise.reject(error));
  }
}

const saved = (operations: readonly Operation[]): Operation[] =>
  operations.filter(({ kind, outcome }) => kind === "save" && outcome === "ok");

const watchers = (operations: readonly Operation[]): Map<string, Operation[]> =>
  groupBy(
    operations.filter(({ kind }) => kind === "change"),
    ({ client }) => client,
  );

/** Fails if a value that was acknowledged came twice, or after one that was acknowledged later. */
function checkOrder(watcher: string, values: readonly number[]): void {
  for (const [i, value] of values.entries()) {
    const before = values[i - 1] ?? 0;
    if (value <= before) throw new Error(`watcher ${watcher} got ${value} after ${before}: a repeat`);
  }
}
