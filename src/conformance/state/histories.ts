import { Runtime, StateOptions_StateConsistency } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { type ConcurrentClient, pickOne, runConcurrently } from "../history/clients.js";
import { conditionalWrite } from "../history/conditional-write.js";
import { History } from "../history/history.js";
import { checkRegister, type RegisterStep, type StepResult } from "../history/register.js";
import { firstWrite, NO_CONDITION, type StateCalls, withEtag } from "./calls.js";

const KEYS = ["a", "b"] as const;
const STEPS = 15;

export function stateHistoryCases(on: DeclareCase<StateCalls>): void {
  on(
    ["consistency", "second client"],
    "what several clients read, write, exchange and delete at once has one order",
    async (at) => {
      const histories = {
        a: new History<RegisterStep, StepResult>(),
        b: new History<RegisterStep, StepResult>(),
      };
      await runConcurrently(at, STEPS, async (client, i) => {
        const key = pickOne(client, KEYS);
        await runStep(at, histories[key], client, key, `${client.number}.${i}`);
      });
      for (const key of KEYS) checkRegister(key, histories[key].operations);
    },
  );
}

/** Runs one random operation on a key. `value` is unique. */
async function runStep(
  at: StateCalls,
  history: History<RegisterStep, StepResult>,
  { number, transport, chance }: ConcurrentClient,
  name: string,
  value: string,
): Promise<void> {
  const runtime = at.client(Runtime, transport);
  const { storeName } = at;
  const key = at.key(name);
  const read = async () => {
    const consistency = StateOptions_StateConsistency.CONSISTENCY_STRONG;
    const { data, etag } = await runtime.getState({ storeName, key, consistency });
    return { etag, value: etag === "" ? undefined : fromUtf8(data) };
  };
  const save = (rest = {}) =>
    runtime.saveState({ storeName, states: [{ key, value: utf8(value), ...rest }] });
  const roll = chance();
  if (roll < 0.35) {
    await history.call(number, { do: "read" }, read);
  } else if (roll < 0.6) {
    await history.call(number, { do: "write", value }, async () => (await save()) && {});
  } else if (roll < 0.7) {
    await history.call(number, { do: "write", value: undefined }, async () => {
      return (await runtime.deleteState({ storeName, key, ...NO_CONDITION })) && {};
    });
  } else {
    const seen = await history.call(number, { do: "read" }, read);
    if (!seen) return;
    const { etag, value: expected } = seen as Awaited<ReturnType<typeof read>>;
    const isDelete = etag !== "" && roll > 0.9;
    await history.call(number, { do: "exchange", expected, value: isDelete ? undefined : value }, () =>
      conditionalWrite(
        isDelete
          ? runtime.deleteState({ storeName, key, ...withEtag(etag) })
          : save(etag === "" ? firstWrite : withEtag(etag)),
      ),
    );
  }
}
