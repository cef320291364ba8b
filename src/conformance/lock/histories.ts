import { Runtime } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { FENCE_HEADER } from "../../rpc/extension-headers.js";
import { sleep } from "../../rpc/sleep.js";
import type { DeclareCase } from "../case.js";
import { ok } from "../expect.js";
import { type ConcurrentClient, runConcurrently } from "../history/clients.js";
import { isUncertain } from "../history/history.js";
import { checkHolds, type Hold } from "../history/orders.js";
import type { LockCalls } from "./calls.js";

const STEPS = 20;

export function lockHistoryCases(on: DeclareCase<LockCalls>): void {
  on(
    ["TryLock", "extensions", "second client"],
    "of several clients that try at once one holds the lock, and each later holder has a higher fence",
    async (at) => {
      const holds: Hold[] = [];
      let events = 0;
      const now = () => events++;
      await runConcurrently(at, STEPS, (client) => holdOnce(at, client, holds, now));
      ok(holds.length > 1, `the lock was held more than once: ${holds.length} times`);
      checkHolds(holds);
    },
  );
}

/** Tries once to take the lock, and releases it if it was granted. */
async function holdOnce(
  at: LockCalls,
  { number, transport }: ConcurrentClient,
  holds: Hold[],
  now: () => number,
): Promise<void> {
  const runtime = at.client(Runtime, transport);
  const claim = { storeName: at.storeName, resourceId: at.own("r"), lockOwner: `client-${number}` };
  let fence = "";
  const onHeader = (headers: Headers) => {
    fence = headers.get(FENCE_HEADER) ?? "";
  };
  try {
    const { success } = await runtime.tryLock({ ...claim, expire: 60 }, { onHeader });
    if (!success) return;
  } catch (reason) {
    if (!isUncertain(reason)) throw reason;
    // The lock may have been granted.
    await callUntilAnswered(() => runtime.unlock(claim));
    return;
  }
  const from = now();
  // Give other clients time to try.
  await callUntilAnswered(() => runtime.sayHello({ serviceName: at.stores.hello.name }));
  holds.push({ client: number, fence: BigInt(fence), from, to: now() });
  await callUntilAnswered(() => runtime.unlock(claim));
}

/** Repeats an idempotent call until the server answers. */
async function callUntilAnswered(call: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await call();
      return;
    } catch (reason) {
      if (!isUncertain(reason)) throw reason;
      await sleep(1);
    }
  }
}
