import { LogService } from "../../../gen/atomix/log/log_pb.js";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import { FIRST_OFFSET_TRAILER, FOLLOW_HEADER } from "../../rpc/extension-headers.js";
import type { DeclareCase } from "../case.js";
import { equal } from "../expect.js";
import { type ConcurrentClient, runConcurrently } from "../history/clients.js";
import { History } from "../history/history.js";
import { type AppendInput, checkLog, type OffsetAndValue } from "../history/orders.js";
import type { LogCalls } from "./calls.js";

const STEPS = 12;
const MOST_VALUES = 5;

export function logHistoryCases(on: DeclareCase<LogCalls>): void {
  on(
    ["Produce", "extensions", "second client"],
    "of what several clients append at once no record is lost, repeated or out of order",
    async (at) => {
      const history = new History<AppendInput, { first: bigint }>();
      await runConcurrently(at, STEPS, (client, i) => append(at, history, client, i));
      checkLog(history.operations, await records(at));
    },
  );

  on(
    ["Consume", "extensions", "second client"],
    "readers that follow while several clients append see the same records in the same order",
    async (at) => {
      const history = new History<AppendInput, { first: bigint }>();
      const leave = new AbortController();
      at.after(() => leave.abort());
      const seen: OffsetAndValue[][] = [[], []];
      const following = seen.map((records) => follow(at, records, leave.signal));
      await runConcurrently(at, STEPS, (client, i) => append(at, history, client, i));
      const all = await records(at);
      checkLog(history.operations, all);
      while (seen.some((records) => records.length < all.length)) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      leave.abort();
      await Promise.allSettled(following);
      for (const records of seen) equal(records, all, "what a reader has seen");
    },
  );
}

/** Appends up to MOST_VALUES unique values in one call. */
async function append(
  at: LogCalls,
  history: History<AppendInput, { first: bigint }>,
  { number, transport, chance }: ConcurrentClient,
  i: number,
): Promise<void> {
  const logs = at.client(LogService, transport);
  const values = Array.from(
    { length: 1 + Math.floor(chance() * MOST_VALUES) },
    (_, part) => `${number}.${i}.${part}`,
  );
  await history.call(number, { values }, async () => {
    let first = "";
    const onTrailer = (trailer: Headers) => {
      first = trailer.get(FIRST_OFFSET_TRAILER) ?? "";
    };
    const requests = async function* () {
      for (const value of values) yield { value: utf8(value) };
    };
    await logs.produce(requests(), { headers: at.log(), onTrailer });
    return { first: BigInt(first) };
  });
}

async function records(at: LogCalls): Promise<OffsetAndValue[]> {
  const all: OffsetAndValue[] = [];
  const headers = { ...at.log(), [FOLLOW_HEADER]: "false" };
  for await (const { offset, value } of at.logs.consume({ offset: 1n }, { headers })) {
    all.push({ offset, value: fromUtf8(value) });
  }
  return all;
}

async function follow(at: LogCalls, to: OffsetAndValue[], signal: AbortSignal): Promise<void> {
  const logs = at.client(LogService, await at.second());
  for await (const { offset, value } of logs.consume({ offset: 1n }, { headers: at.log(), signal })) {
    to.push({ offset, value: fromUtf8(value) });
  }
}
