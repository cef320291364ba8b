import { Runtime, SequencerOptions_AutoIncrement } from "../../../gen/spec/proto/runtime/v1/runtime_pb.js";
import { ID_COUNT_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import type { CaseContext } from "../case-context.js";
import { runConcurrently } from "../history/clients.js";
import { History } from "../history/history.js";
import { checkIds, type Ids } from "../history/orders.js";

const STEPS = 20;

export function sequencerHistoryCases(on: DeclareCase<CaseContext>): void {
  for (const [requirement, increment, inOrder] of [
    ["WEAK ids of several clients at once are unique", SequencerOptions_AutoIncrement.WEAK, false],
    [
      "STRONG ids of several clients at once are unique, and later ones are greater",
      SequencerOptions_AutoIncrement.STRONG,
      true,
    ],
  ] as const) {
    on(["GetNextId", "second client"], `${requirement}, blocks of them too`, async (at) => {
      const history = new History<undefined, Ids>();
      await runConcurrently(at, STEPS, async ({ number, transport, chance }) => {
        const runtime = at.client(Runtime, transport);
        const wanted = chance() < 0.5 ? 1 : 1 + Math.floor(chance() * 100);
        await history.call(number, undefined, async () => {
          let count = 1;
          const onHeader = (headers: Headers) => {
            // A server without blocks gives one id and sends no header.
            count = Number(headers.get(ID_COUNT_HEADER) ?? 1);
          };
          const { nextId } = await runtime.getNextId(
            {
              storeName: at.stores.sequencer,
              key: at.own("ids"),
              options: { increment },
              ...(wanted > 1 && { metadata: { count: String(wanted) } }),
            },
            { onHeader },
          );
          return { first: nextId, count };
        });
      });
      checkIds(history.done, inOrder);
    });
  }
}
