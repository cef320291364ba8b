import { createClient } from "fairlead";
import { createTunnelTransport } from "fairlead/tunnel";
import { indexedDbPersistence } from "fairlead/web";
import type { Case } from "./case.js";
import { equal, take, until } from "./expect.js";

export const gossipMap: Case[] = [
  {
    name: "two members see each other's writes and removals",
    needs: ["streams", "duplex"],
    async run({ fl, id, another }) {
      const here = await fl.openGossipMap<string>(id, { flushMs: 5 });
      const there = await another().openGossipMap<string>(id, { flushMs: 5 });
      const changes = there.changes();
      here.set("ada", "online");
      here.set("bob", "away");
      const [first, second] = await take(changes, 2);
      equal(
        `${first?.type} ${first?.key}, ${second?.type} ${second?.key}`,
        "insert ada, insert bob",
        "the changes",
      );
      const removed = take(there.changes(), 1);
      here.delete("bob");
      equal((await removed)[0]?.type, "remove", "the removal");
      equal([...there].flat().join(), "ada,online", "the other copy");
      await there.close();
      await here.close();
    },
  },
  {
    name: "an entry with a lifetime ends on both members",
    needs: ["streams", "duplex"],
    async run({ fl, id, another }) {
      const here = await fl.openGossipMap<string>(id, { flushMs: 5 });
      const there = await another().openGossipMap<string>(id, { flushMs: 5 });
      const changes = there.changes();
      here.set("ada", "typing", { ttlMs: 200 });
      const [first, second] = await take(changes, 2);
      equal(`${first?.type}, ${second?.type}`, "insert, remove", "the changes");
      equal([...there].flat().join(), "", "the other copy");
      equal(here.get("ada"), undefined, "this copy");
      await there.close();
      await here.close();
    },
  },
  {
    name: "a presence tells who is here, and who leaves",
    needs: ["streams", "duplex"],
    async run({ fl, id, another }) {
      const here = await fl.presence<{ name: string }>(id, { state: { name: "ada" }, flushMs: 5 });
      const there = await another().presence<{ name: string }>(id, { state: { name: "bob" }, flushMs: 5 });
      there.set({ name: "eve" });
      await until(() => here.members.some(({ isSelf, state }) => !isSelf && state.name === "eve"));
      equal(here.members.length, 2, "the members");
      await there.close();
      await until(() => here.members.length === 1);
      equal(here.members[0]?.state.name, "ada", "the member that stays");
      await here.close();
    },
  },
  {
    name: "a member that opened offline catches up, and synced() waits for it",
    needs: ["streams", "duplex"],
    async run({ fl, id, another }) {
      const offline = await fl.openGossipMap<number>(id, { offline: true, flushMs: 5 });
      offline.set("n", 1);
      equal(offline.get("n"), 1, "at once");
      await offline.synced();
      const other = await another().openGossipMap<number>(id);
      equal(other.get("n"), 1, "at another member");
      await other.close();
      await offline.close();
    },
  },
  {
    name: "a map that is kept in IndexedDB is there without the server, where there is an IndexedDB",
    needs: ["streams", "duplex"],
    async run({ fl, id, another }) {
      if (!("indexedDB" in globalThis)) return;
      const persist = indexedDbPersistence(`${id} database`);
      const options = { persist, flushMs: 5 };
      const first = await fl.openGossipMap<string>(id, options);
      const second = await fl.openGossipMap<string>(id, options);
      first.set("sent", "1");
      await second.synced();
      first.set("stored", "2");
      for (const deadlineMs = Date.now() + 5000; !second.has("stored") && Date.now() < deadlineMs; ) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await first.close();
      await second.close();
      const unreachable = createClient(createTunnelTransport("http://127.0.0.1:9"));
      const offline = await unreachable.openGossipMap<string>(id, options);
      equal([...offline].flat().join(), "sent,1,stored,2", "without the server");
      equal(offline.status.storageError, undefined, "the error");
      offline.set("offline", "3");
      equal(offline.status.unsent > 0, true, "there is an unsent write");
      await offline.close();
      await unreachable.close();
      const online = await fl.openGossipMap<string>(id, options);
      await online.synced();
      const other = await another().openGossipMap<string>(id);
      equal(other.get("offline"), "3", "at another member");
      await other.close();
      await online.close();
    },
  },
];
