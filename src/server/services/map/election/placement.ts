import type { SeenSession, Versioned } from "./membership.js";
import type { PartitionRecord } from "./records.js";

type Partitions = ReadonlyMap<string, Versioned<PartitionRecord>>;

/** How many partitions each session leads. */
export function countLed(partitions: Partitions): Map<string, number> {
  const led = new Map<string, number>();
  for (const { record } of partitions.values()) led.set(record.leader, (led.get(record.leader) ?? 0) + 1);
  return led;
}

/**
 * The live sessions whose copies may become the primary, in the order in which they should try: those that lead the
 * fewest partitions first. Servers that drain come last.
 */
export function candidatesFor(
  { inSync }: PartitionRecord,
  live: readonly SeenSession[],
  led: ReadonlyMap<string, number>,
): SeenSession[] {
  const rank = ({ id, record }: SeenSession) =>
    (led.get(id) ?? 0) + (record.state === "draining" ? Number.MAX_SAFE_INTEGER / 2 : 0);
  return live
    .filter(({ record }) => inSync.includes(record.copy))
    .sort((a, b) => rank(a) - rank(b) || compare(a.id, b.id));
}

/**
 * The live sessions that should back up a partition that `leader` leads, at most `count`: first those that do so
 * already, then those that lead the fewest partitions.
 */
export function chooseBackups(
  live: readonly SeenSession[],
  {
    leader,
    count,
    current,
    led,
  }: { leader: SeenSession; count: number; current: ReadonlySet<string>; led: ReadonlyMap<string, number> },
): SeenSession[] {
  const isBackup = ({ record }: SeenSession) => (current.has(record.copy) ? 0 : 1);
  return live
    .filter(({ record }) => record.copy !== leader.record.copy)
    .sort(
      (a, b) =>
        isBackup(a) - isBackup(b) || (led.get(a.id) ?? 0) - (led.get(b.id) ?? 0) || compare(a.id, b.id),
    )
    .slice(0, count);
}

/** A partition that `leader` should hand over, and to whom; undefined if the partitions are balanced. */
export function handOverOf(
  partitions: Partitions,
  live: readonly SeenSession[],
  leader: SeenSession,
): { recordKey: string; target: SeenSession } | undefined {
  const led = countLed(partitions);
  const own = led.get(leader.id) ?? 0;
  const others = live.filter(({ id, record }) => id !== leader.id && record.state === "live");
  for (const [recordKey, { record }] of partitions) {
    if (record.leader !== leader.id) continue;
    const [target] = candidatesFor(record, others, led);
    if (target && own - (led.get(target.id) ?? 0) >= 2) return { recordKey, target };
  }
  return undefined;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
