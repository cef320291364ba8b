import { patternBytes } from "../../src/conformance/test-data.js";
import { fromUtf8, utf8 } from "../../src/lib/utf8.js";
import { sleep } from "../../src/rpc/sleep.js";
import type { Engine } from "../../src/server/engine.js";
import type { Sizes } from "./lossy-store.js";

/** A note of a client: before its request ("?"), or after the answer ("!"). */
export type Note =
  | { on: "keys"; is: "?" | "!"; actor: number; turn: number; gone: boolean; version?: string }
  | { on: "log"; is: "?" | "!"; log: string; actor: number; turn: number; count: number; first?: number }
  | { on: "publish" | "ack"; is: "?" | "!"; ids: string[] }
  | { on: "blob"; is: "?" | "!"; actor: number; turn: number }
  /** The synced bytes of the store, before every "!" that they cover. */
  | { on: "sync"; sizes: Sizes }
  /** The names in the store's folder that are durable from now on. */
  | { on: "names"; names: string[] };

export const ACTORS = 6;
export const LOGS = ["l0", "l1"];

export const contentOf = (turn: number): Uint8Array => patternBytes(1 + ((turn * 7919) % 90_000), turn);

/**
 * Writes through every port, many writes at a time, until `signal` aborts or the engine fails. Turns are counted from
 * `from` on: no two runs of an engine use the same turn.
 */
export async function work(
  engine: Engine,
  from: number,
  note: (note: Note) => void,
  signal: AbortSignal,
): Promise<void> {
  const until = async (step: (turn: number) => Promise<void>) => {
    for (let turn = from; !signal.aborted; turn++) await step(turn);
  };
  const actors = Array.from({ length: ACTORS }, (_, actor) => [
    until((turn) => writeKeys(engine, actor, turn, note)),
    until((turn) => appendTo(engine, LOGS[actor % LOGS.length] as string, actor, turn, note)),
  ]).flat();
  const events = [
    // First: an event that is published before there is a group is lost.
    handle(engine, note, signal),
    until((turn) => publish(engine, turn, note)),
    until((turn) => putBlob(engine, turn % 3, turn, note)),
  ];
  await Promise.all([...actors, ...events].map((actor) => actor.catch(() => {})));
}

async function writeKeys({ keys }: Engine, actor: number, turn: number, note: (note: Note) => void) {
  const gone = turn % 7 === 3;
  note({ on: "keys", is: "?", actor, turn, gone });
  const value = utf8(`${turn}`);
  const padding = utf8(`${turn}:${"x".repeat((turn * 131) % 3000)}`);
  const commit = await keys.commit([
    gone ? { type: "delete", key: `a${actor}` } : { type: "set", key: `a${actor}`, value },
    { type: "set", key: `pad${actor}.${turn % 50}`, value: padding, ...(turn % 5 === 0 && { ttlMs: 30 }) },
    gone ? { type: "delete", key: `b${actor}` } : { type: "set", key: `b${actor}`, value, ttlMs: 3_600_000 },
  ]);
  if ("version" in commit) note({ on: "keys", is: "!", actor, turn, gone, version: `${commit.version}` });
}

async function appendTo(
  { logs }: Engine,
  log: string,
  actor: number,
  turn: number,
  note: (note: Note) => void,
) {
  const count = 1 + (turn % 5);
  note({ on: "log", is: "?", log, actor, turn, count });
  const values = Array.from({ length: count }, (_, i) =>
    utf8(`${actor}.${turn}.${i}.${count}.${"y".repeat(turn % 300)}`),
  );
  const { first } = await logs.append(log, values);
  note({ on: "log", is: "!", log, actor, turn, count, first: Number(first) });
}

async function publish({ topics }: Engine, turn: number, note: (note: Note) => void) {
  const ids = Array.from({ length: 1 + (turn % 3) }, (_, i) => `${turn}.${i}`);
  note({ on: "publish", is: "?", ids });
  await topics.publish("t", ids.map(utf8));
  note({ on: "publish", is: "!", ids });
}

/** Acknowledges most events, delays some, and leaves some for the next consumer. */
async function handle({ topics }: Engine, note: (note: Note) => void, signal: AbortSignal) {
  while (!signal.aborted) {
    const enough = new AbortController();
    signal.addEventListener("abort", () => enough.abort(), { once: true });
    let seen = 0;
    for await (const event of topics.consume("t", "g", enough.signal)) {
      const id = fromUtf8(event.value);
      if (++seen % 11 === 0) await event.retry(seen % 22 === 0 ? 20 : 0);
      else if (seen % 7 === 0) continue;
      else {
        note({ on: "ack", is: "?", ids: [id] });
        await event.ack();
        note({ on: "ack", is: "!", ids: [id] });
      }
      if (seen === 50) break;
    }
    await sleep(1);
  }
}

async function putBlob({ blobs }: Engine, actor: number, turn: number, note: (note: Note) => void) {
  note({ on: "blob", is: "?", actor, turn });
  const content = (async function* () {
    yield contentOf(turn);
  })();
  await blobs.put(`f${actor}`, content, { metadata: { turn: `${turn}` }, ifAbsent: false });
  note({ on: "blob", is: "!", actor, turn });
}
