import assert from "node:assert/strict";
import { test } from "vitest";
import { openGossipMap } from "../src/gossip-map.js";
import { throughEveryDoor } from "./doors.js";

throughEveryDoor("duplex", (open) => {
  test("what one member sets, the other has", async () => {
    await using at = await open();
    await using ada = await openGossipMap<number>(at.transport, "presence");
    ada.set("a", 1);
    await ada.synced();
    await using bob = await openGossipMap<number>(at.transport, "presence");
    assert.equal(bob.get("a"), 1);
    const changes = bob.changes()[Symbol.asyncIterator]();
    ada.set("a", 2);
    assert.deepEqual((await changes.next()).value, { type: "update", key: "a", value: 2, previous: 1, local: false });
  });
});
