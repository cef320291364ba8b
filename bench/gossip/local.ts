import type { Transport } from "@connectrpc/connect";
import { openGossipMap } from "fairlead";
import { createMergeableStore } from "tinybase";
import { Doc } from "yjs";
import { compare, median, type Row } from "../table.js";

const KEYS = 20_000;
const READS = 20;
const ROUNDS = 7;

/** A map of texts in this process. */
interface TextMap {
  set(key: string, value: string): void;
  get(key: string): unknown;
}

const keys = Array.from({ length: KEYS }, (_, i) => `user:${i}:name`);

/** A transport whose streams never answer: only the local copy is measured. */
const nowhere: Transport = {
  unary: () => Promise.reject(new Error("there is no server")),
  stream: () => new Promise(() => {}),
};

/** How many writes and reads of a local copy fit in a second, against two other replicated maps. */
export async function localRows(): Promise<Row[]> {
  const others: [name: string, create: () => TextMap][] = [
    ["Yjs Y.Map", () => new Doc().getMap<string>("bench")],
    ["TinyBase MergeableStore", tinyBase],
  ];
  const rows: Row[] = [];
  for (const [operation, measure] of [
    ["set", writesPerSecond],
    ["get", readsPerSecond],
  ] as const) {
    for (const [name, create] of others) {
      const { ratio, ours, theirs } = await compare(
        ROUNDS,
        async () => measure(await gossipMap()),
        async () => measure(create()),
        (mine, other) => mine / other,
      );
      rows.push({
        what: `local ${operation}, ${KEYS} keys, against ${name}`,
        ratio,
        goal: { atLeast: 1 },
        detail: `${thousands(median(ours))} against ${thousands(median(theirs))} a second`,
      });
    }
  }
  return rows;
}

const gossipMap = (): Promise<TextMap> => openGossipMap<string>(nowhere, "bench", { offline: true });

function tinyBase(): TextMap {
  const store = createMergeableStore();
  return {
    set: (key, value) => void store.setCell("bench", key, "value", value),
    get: (key) => store.getCell("bench", key, "value"),
  };
}

function writesPerSecond(map: TextMap): number {
  const startMs = performance.now();
  for (const key of keys) map.set(key, `the name of ${key}`);
  return (KEYS * 1000) / (performance.now() - startMs);
}

function readsPerSecond(map: TextMap): number {
  for (const key of keys) map.set(key, `the name of ${key}`);
  let found = 0;
  const startMs = performance.now();
  for (let i = 0; i < READS; i++) for (const key of keys) if (map.get(key) !== undefined) found++;
  const elapsedMs = performance.now() - startMs;
  if (found !== KEYS * READS) throw new Error(`${found} values were found, not ${KEYS * READS}`);
  return (KEYS * READS * 1000) / elapsedMs;
}

const thousands = (number: number): string => `${Math.round(number / 1000)} k`;
