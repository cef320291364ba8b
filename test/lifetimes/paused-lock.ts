import { Code, ConnectError } from "@connectrpc/connect";
import { createClient } from "../../src/index.js";
import { createNodeTransport } from "../../src/node.js";

/** A program that holds a lock of one second until it was stopped for longer, and prints how that ended. */
const [url = ""] = process.argv.slice(2);
const fl = createClient(createNodeTransport(url));

/** Resolves in the first turn after a pause of the whole process. */
async function paused(): Promise<void> {
  for (let atMs = Date.now(); ; atMs = Date.now()) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (Date.now() - atMs > 1500) return;
  }
}

let atOnce: boolean | undefined;
const outcome = await fl
  .lock()
  .withLock(
    "paused",
    async ({ signal }) => {
      // Measured from before the line that has the test stop this process.
      const pause = paused();
      console.log("held");
      await pause;
      atOnce = signal.aborted;
      return "done";
    },
    { ttlMs: 1000 },
  )
  .catch((error: unknown) => Code[ConnectError.from(error).code]);
console.log(outcome, atOnce);
await fl.close();
