import { createClient } from "fairlead";

await using fl = createClient(Deno.env.get("FAIRLEAD_URL") ?? "http://localhost:34904");

// If several machines start the job at the same time, one of them runs it. The others do not wait.
await using held = await fl.lock().tryAcquire("nightly-report", { ttlMs: 30_000 });
if (!held) {
  console.log("another machine runs it");
} else {
  const number = await fl.sequencer().next("reports", { guarantee: "strong" });
  const report = { number: Number(number), madeBy: `Deno ${Deno.version.deno}` };
  // With the fence the server rejects the write if the lock has been lost.
  await fl.state<typeof report>().set("latest-report", report, { fence: held });
  console.log(`report ${number} is done`);
}
