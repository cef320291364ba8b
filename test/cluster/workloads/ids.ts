import { checkIds } from "../../../src/conformance/history/orders.js";
import { toRecorded } from "../operation.js";
import { choose, deadline, type Workload } from "../workload.js";

/** Two sequences from which all clients take ids. */
export const ids: Workload = {
  name: "ids",
  paceMs: 12,
  async step(worker) {
    const guarantee = choose(worker, ["strong", "weak"] as const);
    await worker.record.call({ workload: "ids", kind: guarantee }, async () => {
      return Number(await worker.fairlead.sequencer().next(guarantee, { guarantee, ...deadline(worker) }));
    });
  },
  check(operations) {
    const given = (guarantee: string) =>
      operations
        .filter(({ kind, outcome }) => kind === guarantee && outcome === "ok")
        .map((operation) => ({
          ...toRecorded(operation, undefined, undefined),
          output: { first: BigInt(operation.output as number), count: 1 },
        })) satisfies unknown[];
    checkIds(given("strong"), true);
    checkIds(given("weak"), false);
  },
};
