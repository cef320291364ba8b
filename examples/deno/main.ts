import { createClient } from "fairlead";

await using fl = createClient(Deno.env.get("FAIRLEAD_URL") ?? "http://localhost:34904");

// However many machines start it at the same time, one of them does it; the others learn at once that it is being done.
await using held = await fl.lock().tryAcquire("nightly-report", { ttlMs: 30_000 });
if (!held) {
  console.log("another machine is at it");
} else {
  const number = await fl.sequencer().next("reports", { guarantee: "strong" });
  const report = { number: Number(number), madeBy: `Deno ${Deno.version.deno}` };
  // Under the fence: where the lock was lost meanwhile, the write is refused.
  await fl.state<typeof report>().set("latest-report", report, { fence: held });
  console.log(`report ${number} is there`);
}
