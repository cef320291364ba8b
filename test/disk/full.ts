/** A process whose files may not grow beyond its parent's limit. It reports the results of its writes. */
import { once } from "node:events";
import { reader } from "../../src/conformance/engine/reader.js";
import { neverAborts } from "../../src/conformance/engine/timing.js";
import { set } from "../../src/conformance/engine/writes.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import { EngineFault } from "../../src/server/engine.js";
import { openDiskEngine } from "../../src/server/engines/disk/engine.js";

process.on("SIGXFSZ", () => {});
const parent = async () => (await once(process, "message"))[0] as unknown;
const describeError = (error: unknown) =>
  error instanceof EngineFault ? `${error.reason}: ${error.message}` : String(error);
const refusal = (call: Promise<unknown>) => call.then(() => "done", describeError);

const { keys, topics, blobs } = await openDiskEngine({ folder: process.argv[2] ?? "" });
await keys.commit([set("k", "old")]);
await blobs.put("b", (async function* () {})(), { metadata: {}, ifAbsent: false });
const events = reader(topics.consume("t", "g", neverAborts()));
await topics.publish("t", [utf8("1"), utf8("2")]);
const first = await events.next();
process.send?.("open");

await parent();
let kept = 0;
const fill = async () => {
  for (; ; kept++) await keys.commit([set(`fill${String(kept).padStart(5, "0")}`, "x".repeat(2000))]);
};
const refused = [await refusal(fill())];
const racing = ["1", "2"].map((value) => refusal(keys.commit([set("raced", value, { ifVersion: 0n })])));
refused.push(...(await Promise.all(racing)));
refused.push(await refusal(keys.commit([set("k", "new"), set("never", "x")])));
refused.push(await refusal(topics.publish("t", [utf8("3")])));
refused.push(await refusal(first.ack()));
process.send?.({
  refused,
  kept,
  old: fromUtf8((await keys.get("k"))?.value ?? utf8("")),
  racing: (await keys.get("raced")) ?? null,
});

await parent();
while ((await refusal(keys.commit([set("k", "newer")]))) !== "done") await sleep(50);
await keys.commit([set("raced", "3", { ifVersion: 0n })]);
const again = await events.next();
await again.ack();
await topics.publish("t", [utf8("4")]);
process.send?.({
  event: fromUtf8(again.value),
  attempt: again.attempt,
  racing: fromUtf8((await keys.get("raced"))?.value ?? utf8("")),
});
await parent();
process.kill(process.pid, "SIGKILL");
