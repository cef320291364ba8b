import { setTimeout as sleep } from "node:timers/promises";
import { median, type Row } from "../table.js";
import { fill, keyAt, type Member, Members, until } from "./members.js";

const MEMBERS = 10;
const SHARED_KEYS = 10_000;
const CHANGED_KEYS = 10_000;

/** How long it takes after a partition until all members agree. Each has changed a tenth of the keys. */
export async function healRows(quick: boolean): Promise<Row[]> {
  const rounds = quick ? 3 : 7;
  const seconds: number[] = [];
  await using members = new Members();
  const all = await Promise.all(Array.from({ length: MEMBERS }, () => members.join()));
  await fill(all[0] as Member, SHARED_KEYS);
  // The first round is a warm-up.
  for (let round = 0; round <= rounds; round++) {
    const took = await heal(all, round);
    if (round > 0) seconds.push(took);
  }
  const mid = median(seconds);
  return [
    {
      what: `a partition heals: ${MEMBERS} members, ${CHANGED_KEYS} differing keys, until all agree`,
      ratio: mid,
      goal: { atMost: 1 },
      shown: `${mid.toFixed(2)} s`,
      detail: `${seconds.map((each) => each.toFixed(2)).join(", ")} s`,
    },
  ];
}

async function heal(all: readonly Member[], round: number): Promise<number> {
  await until(() => all.every(({ map }) => map.size === SHARED_KEYS && map.connected));
  for (const { wire } of all) wire.cut();
  for (let i = 0; i < CHANGED_KEYS; i++) {
    all[i % all.length]?.map.set(keyAt(i), { name: `round ${round}`, count: i });
  }
  // Until each member tries to reconnect.
  await sleep(2000);
  const beganMs = performance.now();
  for (const { wire } of all) wire.mend();
  for (const { map } of all) {
    for (let i = 0; i < CHANGED_KEYS; i++) await until(() => map.get(keyAt(i))?.name === `round ${round}`);
  }
  return (performance.now() - beganMs) / 1000;
}
