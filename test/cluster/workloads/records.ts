import { type AppendInput, checkLog, type OffsetAndValue } from "../../../src/conformance/history/orders.js";
import { groupBy, type Operation, toRecorded } from "../operation.js";
import { deadline, type Worker, type Workload } from "../workload.js";

/** A log to which all clients append, and which each client follows. */
export const records: Workload = {
  name: "records",
  paceMs: 25,
  async open(worker) {
    void follow(worker);
  },
  async step(worker, number) {
    const { fairlead, record, name } = worker;
    const count = 1 + Math.floor(worker.chance() * 4);
    const values = Array.from({ length: count }, (_, i) => `${name}.${number}.${i}`);
    await record.call({ workload: "records", kind: "append", input: values }, async () => {
      const { firstOffset } = await fairlead.log<string>("records").append(values, deadline(worker));
      return Number(firstOffset);
    });
  },
  async readFinal({ fairlead, record }) {
    await record.call({ workload: "records", kind: "final" }, async () => {
      const all: [number, string][] = [];
      const log = fairlead.log<string>("records");
      for await (const { offset, value } of log.read({ follow: false })) all.push([Number(offset), value]);
      return all;
    });
  },
  isComplete(operations) {
    const last = Math.max(
      0,
      ...operations
        .filter(({ kind, outcome }) => kind === "append" && outcome === "ok")
        .map(({ input, output }) => (output as number) + (input as string[]).length - 1),
    );
    const followed = [...followers(operations).values()];
    const lastOf = (each: readonly Operation[]) =>
      (each.at(-1)?.input as [number, string] | undefined)?.[0] ?? 0;
    return followed.every((each) => lastOf(each) >= last);
  },
  check(operations) {
    const appends = operations.filter(({ kind, outcome }) => kind === "append" && outcome !== "refused");
    const final = operations.find(({ kind }) => kind === "final")?.output as [number, string][];
    checkLog(
      appends.map((operation) =>
        toRecorded<AppendInput, { first: bigint }>(
          operation,
          { values: operation.input as string[] },
          { first: BigInt((operation.output as number | undefined) ?? 0) },
        ),
      ),
      final.map(([offset, value]): OffsetAndValue => ({ offset: BigInt(offset), value })),
    );
    for (const [client, each] of followers(operations)) checkFollower(client, each, final);
  },
};

async function follow({ fairlead, record, ended }: Worker): Promise<void> {
  try {
    for await (const { offset, value } of fairlead.log<string>("records").read({ signal: ended })) {
      record.note({ workload: "records", kind: "read", input: [Number(offset), value] });
    }
  } catch (error) {
    if (!ended.aborted)
      await record.call({ workload: "records", kind: "follow" }, () => Promise.reject(error));
  }
}

const followers = (operations: readonly Operation[]) =>
  groupBy(
    operations.filter(({ kind }) => kind === "read"),
    ({ client }) => client,
  );

/** Fails unless the follower got every record once, in order. */
function checkFollower(client: string, read: readonly Operation[], final: readonly [number, string][]): void {
  for (const [i, [offset, value]] of final.entries()) {
    const [gotOffset, got] = (read[i]?.input as [number, string] | undefined) ?? [];
    if (gotOffset === offset && got === value) continue;
    throw new Error(
      `follower ${client} got ${gotOffset === undefined ? "nothing" : `${got} at ${gotOffset}`} ` +
        `as its record ${i + 1}, and not ${value} at ${offset}`,
    );
  }
  const further = read[final.length];
  if (further) throw new Error(`follower ${client} got ${String(further.input)}, which is not in the log`);
}
