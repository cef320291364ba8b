import { fromUtf8, utf8 } from "../../../src/lib/utf8.js";
import { nowMicros } from "../operation.js";
import { choose, deadline, type Workload } from "../workload.js";
import { checkRegisters } from "./registers.js";

/** For how long one name is used. */
const EPOCH_MICROS = 10_000_000;

/** Files that all clients write and read. Each content says by its first line what all of it must be. */
export const files: Workload = {
  name: "files",
  paceMs: 120,
  async step(worker, number) {
    const { fairlead, record, name } = worker;
    const key = `file-${Math.floor(nowMicros() / EPOCH_MICROS)}`;
    const kind = choose(worker, ["read", "write"]);
    const call = { workload: "files", kind, key };
    if (kind === "read") {
      await record.call(call, async () => {
        const file = await fairlead.files().get(key, deadline(worker));
        return file && headOf(await file.bytes());
      });
      return;
    }
    const head = `${name}.${number}`;
    const kib = 1 + Math.floor(worker.chance() ** 3 * 300);
    await record.call({ ...call, input: head }, async () => {
      await fairlead.files().put(key, contentOf(head, kib), deadline(worker));
    });
  },
  check(operations) {
    const torn = operations.find(({ output }) => typeof output === "string" && output.startsWith(TORN));
    if (torn) throw new Error(`${torn.client} read ${torn.key}: ${String(torn.output)}`);
    checkRegisters(operations);
  },
};

/** A content that begins with `head` and its size. */
function contentOf(head: string, kib: number): Uint8Array {
  const line = `${head} ${kib}\n`;
  return utf8(line.repeat(Math.ceil((kib * 1024) / line.length)).slice(0, kib * 1024));
}

const TORN = "not whole:";

/** The first word of a content; a text with TORN if it is not whole. */
function headOf(bytes: Uint8Array): string {
  const text = fromUtf8(bytes);
  const [head = "", kib = ""] = text.slice(0, text.indexOf("\n")).split(" ");
  const isWhole = text === fromUtf8(contentOf(head, Number(kib)));
  return isWhole
    ? head
    : `${TORN} ${bytes.length} bytes that begin with ${JSON.stringify(text.slice(0, 60))}`;
}
