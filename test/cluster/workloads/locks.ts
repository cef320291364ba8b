import { checkHolds } from "../../../src/conformance/history/orders.js";
import type { HeldLock } from "../../../src/index.js";
import { sleep } from "../../../src/rpc/sleep.js";
import { nowMicros, type Operation } from "../operation.js";
import { deadline, type Worker, type Workload } from "../workload.js";

/** The lease. A holder that cannot renew it loses the lock in the run. */
const TTL_MS = 3000;

/** One lock that all clients take in turn, and a key that only its holder may write. */
export const locks: Workload = {
  name: "locks",
  paceMs: 40,
  async step(worker) {
    const { fairlead, record } = worker;
    let held: HeldLock | undefined;
    await record.call({ workload: "locks", kind: "acquire" }, async () => {
      held = await fairlead.lock().tryAcquire("resource", { ttlMs: TTL_MS, ...deadline(worker) });
      return held && Number(held.fence);
    });
    if (held) await useLock(worker, held);
  },
  check(operations) {
    const holds = operations.filter(({ kind }) => kind === "hold");
    checkHolds(
      holds.map(({ client, input, calledAt, returnedAt }) => ({
        client: Number(client.replace(/\D/g, "")),
        fence: BigInt(input as number),
        from: calledAt,
        to: returnedAt,
      })),
    );
    checkGuarded(operations);
  },
};

/** Writes under the lock, records for how long it was held for certain, and releases it. */
async function useLock(worker: Worker, held: HeldLock): Promise<void> {
  const { fairlead, record } = worker;
  const calledAt = nowMicros();
  const fence = Number(held.fence);
  let returnedAt = calledAt;
  for (let writes = 1 + Math.floor(worker.chance() * 3); writes > 0; writes--) {
    await record.call({ workload: "locks", kind: "guarded", input: fence }, async () => {
      await fairlead.state<number>().set("guarded", fence, { fence: held, ...deadline(worker) });
    });
    await sleep(worker.chance() * 40);
    // The clock first: the lock was held at that time.
    const at = nowMicros();
    if (held.signal.aborted) break;
    returnedAt = at;
  }
  record.note({ workload: "locks", kind: "hold", input: fence }, { calledAt, returnedAt });
  const call = { workload: "locks", kind: "release", input: fence };
  await record.call(call, () => held.release({ timeoutMs: 5000 }));
}

/** Fails if a write with an older fence was done after one with a newer fence had been. */
function checkGuarded(operations: readonly Operation[]): void {
  const done = operations.filter(({ kind, outcome }) => kind === "guarded" && outcome === "ok");
  const byReturn = [...done].sort((a, b) => a.returnedAt - b.returnedAt);
  let newest = 0;
  let i = 0;
  for (const { client, input, calledAt } of [...done].sort((a, b) => a.calledAt - b.calledAt)) {
    for (; (byReturn[i]?.returnedAt ?? Number.POSITIVE_INFINITY) < calledAt; i++) {
      newest = Math.max(newest, byReturn[i]?.input as number);
    }
    const fence = input as number;
    if (fence < newest)
      throw new Error(`${client} wrote with the fence ${fence} after a write with ${newest}`);
  }
}
