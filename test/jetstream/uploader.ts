/** A process that uploads a blob without end, until it is killed. Arguments: the server's URL, the name of the stores. */
import { patternBytes } from "../../src/conformance/test-data.js";
import { sleep } from "../../src/rpc/sleep.js";
import { openStores } from "../support/jetstream-stores.js";

const [url = "", name = ""] = process.argv.slice(2);
const timing = { renewMs: 50, lapseMs: 500, sweepMs: 60_000 };
const { blobs } = await openStores({ servers: [url], name, timing });

async function* endless(): AsyncGenerator<Uint8Array> {
  for (let i = 0; ; i++) {
    yield patternBytes(600_000, i);
    if (i === 5) process.send?.("uploading");
    await sleep(20);
  }
}

await blobs.put("b", endless(), { metadata: {}, ifAbsent: false });
