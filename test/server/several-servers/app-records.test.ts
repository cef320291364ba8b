import assert from "node:assert/strict";
import { Code } from "@connectrpc/connect";
import { test } from "vitest";
import { fromUtf8 } from "../../../src/lib/utf8.js";
import { memoryEngine } from "../../../src/server/engines/memory.js";
import { AppRecords } from "../../../src/server/tunnel/app-registry/app-records.js";
import { PeerNetwork } from "../../support/peer-network.js";

/** The records of two servers on one engine. */
function open(apps: number) {
  const engine = memoryEngine();
  const network = new PeerNetwork();
  const closing = new AbortController();
  const recordsOf = () => new AppRecords({ ...engine, peers: network.join() }, { apps }, closing.signal);
  const [here, there] = [recordsOf(), recordsOf()];
  const dispose = async () => {
    closing.abort();
    await engine.close();
  };
  return { engine, here, there, [Symbol.asyncDispose]: dispose };
}

const isAway = async () => false;

test("an app that connects while another server makes room is not forgotten", async () => {
  await using at = open(1);
  await at.here.create("shop", isAway);
  const created = at.there.create("other", async () => {
    // It connects again just after the other server has asked for it.
    await at.here.create("shop", isAway);
    return false;
  });
  await assert.rejects(created, { code: Code.ResourceExhausted });
  assert.equal(await at.there.has("shop"), true);
  await at.there.create("other", isAway);
  assert.equal(await at.here.has("shop"), false);
});

test("groups that two versions of an app store at the same time are kept while events wait for them", async () => {
  await using at = open(10);
  const { topics, keys } = at.engine;
  const groupOf = (topic: string) => ({ topic, group: "shop" });
  for (const topic of ["a", "b"]) {
    topics.consume(topic, "shop", AbortSignal.abort());
    await topics.publish(topic, [new Uint8Array(1)]);
  }
  await Promise.all([at.here.setGroups("shop", [groupOf("a")]), at.there.setGroups("shop", [groupOf("b")])]);
  await at.here.setGroups("shop", [groupOf("c")]);
  const stored = async () => {
    const record = await keys.get("app\0shop");
    return (JSON.parse(fromUtf8(record?.value ?? assert.fail())) as { topic: string }[]).map(
      ({ topic }) => topic,
    );
  };
  assert.deepEqual((await stored()).toSorted(), ["a", "b", "c"]);
  for (const topic of ["a", "b"]) {
    const leave = new AbortController();
    for await (const delivery of topics.consume(topic, "shop", leave.signal)) {
      await delivery.ack();
      break;
    }
    leave.abort();
  }
  await at.there.setGroups("shop", [groupOf("c")]);
  assert.deepEqual(await stored(), ["c"]);
});
