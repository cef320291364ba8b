import { createClient, type GossipMap, type Presence } from "fairlead";
import { indexedDbPersistence } from "fairlead/web";

/** A page with a gossip map that is kept in IndexedDB. The test calls its functions, and reads its status. */

let map: GossipMap<unknown> | undefined;
let presence: Presence<object> | undefined;

const opened = (): GossipMap<unknown> => {
  if (!map) throw new Error("the map is not open");
  return map;
};

/** Opens the map `name`, and returns how long that took, in milliseconds. */
async function open(url: string, name: string): Promise<number> {
  const fl = createClient(url);
  // Loads the code for it, which is no part of the time.
  const other = await fl.openGossipMap("other", { offline: true });
  await other.close();
  const beganMs = performance.now();
  map = await fl.openGossipMap(name, { persist: indexedDbPersistence("test") });
  const tookMs = performance.now() - beganMs;
  document.body.textContent = `${map.size} keys`;
  return tookMs;
}

Object.assign(globalThis, {
  gossip: {
    open,
    enter: async (url: string, id: string) => {
      presence = await createClient(url).presence("here", { memberId: id });
    },
    present: () => presence?.members.map(({ id }) => id),
    setEphemeral: (key: string) => opened().set(key, "here", { ephemeral: true }),
    set: (key: string, value: unknown) => opened().set(key, value),
    remove: (key: string) => opened().delete(key),
    fill: (count: number) => {
      for (let i = 0; i < count; i++) opened().set(`key ${i}`, { name: `entry ${i}`, done: i % 2 === 0 });
    },
    synced: () => opened().synced(),
    contents: () => Object.fromEntries(opened()),
    size: () => opened().size,
    status: () => {
      const { current, unsent, storageError } = opened().status;
      return { current, unsent, storageError: storageError && String(storageError) };
    },
    close: () => opened().close(),
  },
});
