import { openGossipMap } from "fairlead";
import { createTunnelTransport } from "fairlead/node";
import { createMergeableStore } from "tinybase";
import { createWsSynchronizer } from "tinybase/synchronizers/synchronizer-ws-client";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import { Doc } from "yjs";
import { startServer } from "../child.js";
import { compare, median, type Row } from "../table.js";
import { until } from "./members.js";

const KEYS = 10_000;

/** Writes the entries through a first replica. Returns what fills a fresh replica, and the time that takes. */
type Prepare = (url: string) => Promise<() => Promise<number>>;

const entries = Array.from({ length: KEYS }, (_, i) => [`user:${i}:name`, `the name of user ${i}`] as const);

/** How long a fresh replica takes to have all keys of a server in another process, against two others. */
export async function freshRows(quick: boolean): Promise<Row[]> {
  await using fairlead = await startServer("fairlead");
  await using yjs = await startServer("yjs");
  await using tinyBase = await startServer("tinybase");
  const ours = await gossipMap(fairlead.url);
  const rows: Row[] = [];
  for (const [name, prepare, url] of [
    ["Yjs over y-websocket", yjsMap, yjs.url],
    ["TinyBase over its WebSocket synchronizer", tinyBaseStore, tinyBase.url],
  ] as [string, Prepare, string][]) {
    const theirs = await prepare(url);
    const times = await compare(quick ? 3 : 9, ours, theirs, (mine, other) => other / mine);
    rows.push({
      what: `${KEYS} keys to a fresh replica over the tunnel, against ${name}`,
      ratio: times.ratio,
      goal: { atLeast: 1 },
      detail: `${median(times.ours).toFixed(0)} against ${median(times.theirs).toFixed(0)} ms`,
    });
  }
  return rows;
}

const gossipMap: Prepare = async (url) => {
  const first = await openGossipMap<string>(createTunnelTransport(url), "bench");
  for (const [key, value] of entries) first.set(key, value);
  await first.synced({ timeoutMs: 60_000 });
  await first.close();
  return async () => {
    const transport = createTunnelTransport(url);
    const startMs = performance.now();
    const map = await openGossipMap<string>(transport, "bench");
    const tookMs = performance.now() - startMs;
    if (map.size !== KEYS) throw new Error(`the replica has ${map.size} keys`);
    await map.close();
    await transport[Symbol.asyncDispose]();
    return tookMs;
  };
};

const yjsMap: Prepare = async (url) => {
  const open = () => {
    const doc = new Doc();
    const map = doc.getMap<string>("bench");
    const provider = new WebsocketProvider(url, "bench", doc, {
      WebSocketPolyfill: WebSocket as never,
      disableBc: true,
    });
    return { doc, map, provider };
  };
  const first = open();
  first.doc.transact(() => {
    for (const [key, value] of entries) first.map.set(key, value);
  });
  const read = async () => {
    const startMs = performance.now();
    const { map, provider, doc } = open();
    await until(() => map.size === KEYS);
    const tookMs = performance.now() - startMs;
    provider.destroy();
    doc.destroy();
    return tookMs;
  };
  await read();
  first.provider.destroy();
  return read;
};

const tinyBaseStore: Prepare = async (url) => {
  const open = async () => {
    const store = createMergeableStore();
    const synchronizer = await createWsSynchronizer(store, new WebSocket(`${url}/bench`) as never);
    await synchronizer.startSync();
    return { store, synchronizer };
  };
  const first = await open();
  first.store.transaction(() => {
    for (const [key, value] of entries) first.store.setCell("bench", key, "value", value);
  });
  // The first replica stays connected: the server keeps no copy of its own.
  return async () => {
    const startMs = performance.now();
    const { store, synchronizer } = await open();
    await until(() => store.getRowCount("bench") === KEYS);
    const tookMs = performance.now() - startMs;
    await synchronizer.destroy();
    return tookMs;
  };
};
