import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { LogRecord, LogStore } from "../../../server/engine.js";
import { ok } from "../../expect.js";
import { collect, type Reader, reader } from "../reader.js";
import { neverAborts } from "../timing.js";

export const appendTexts = (logs: LogStore, log: string, ...texts: string[]) =>
  logs.append(log, texts.map(utf8));

/** The current records starting at `from`. Fails if a batch is empty. */
export async function readAll(logs: LogStore, log: string, from = 1n): Promise<LogRecord[]> {
  const batches = await collect(logs.read(log, from, { follow: false, signal: neverAborts() }));
  for (const batch of batches) ok(batch.length > 0, "no batch is empty");
  return batches.flat();
}

export const textsOf = (records: LogRecord[]) => records.map(({ value }) => fromUtf8(value));
export const offsetsOf = (records: LogRecord[]) => records.map(({ offset }) => offset);

/** A reader that follows the log record by record. */
export const followRecords = (
  logs: LogStore,
  log: string,
  from: bigint,
  signal = neverAborts(),
): Reader<LogRecord> =>
  reader(
    (async function* () {
      for await (const batch of logs.read(log, from, { follow: true, signal })) yield* batch;
    })(),
  );
