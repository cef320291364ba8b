import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import { Member } from "./member.js";
import type { Plan } from "./plan.js";
import { describeEntry, endOf, isRemoval, orderOf } from "./version.js";
import { Violation, World } from "./world.js";

/** The time within which all copies are one map after everything has healed, in milliseconds. */
const CONVERGE_MS = 90_000;

/** How often the copies are compared meanwhile. */
const COMPARE_MS = 250;

/** How long nothing changes while the idle bytes are counted, in milliseconds. */
const QUIET_MS = 120_000;

/** How far a member's clock may differ from the true time after it was connected: those of servers differ by 3 s. */
const MAX_CLOCK_ERROR_MS = 10_000;

export interface Outcome {
  /** What was wrong; undefined if nothing was. */
  violation: string | undefined;
  /** The last lines of what happened. */
  trace: readonly string[];
  /** How long the copies took to become one map, in milliseconds. */
  convergedMs: number;
  /** The bytes per second of all streams while nothing changed. */
  idleBytesPerSecond: number;
  /** How many tasks ran, and how many messages were sent. */
  tasks: number;
  messages: number;
}

/** Runs a plan to its end, or to the first thing that is wrong. */
export async function simulate(plan: Plan): Promise<Outcome> {
  const world = new World(plan);
  const outcome: Outcome = {
    violation: undefined,
    trace: world.trace,
    convergedMs: Number.NaN,
    idleBytesPerSecond: Number.NaN,
    tasks: 0,
    messages: 0,
  };
  try {
    await world.advance(plan.durationMs);
    world.heal();
    outcome.convergedMs = await converge(world);
    checkMap(world);
    await checkSync(world);
    outcome.idleBytesPerSecond = await checkQuiet(world);
    await checkCollection(world);
  } catch (error) {
    // An error of the simulated code is a finding as well.
    outcome.violation = error instanceof Violation ? error.message : String((error as Error)?.stack ?? error);
  } finally {
    outcome.tasks = world.scheduler.scheduled;
    outcome.messages = world.network.sentMessages;
    await world.close();
  }
  return outcome;
}

/** Waits until all copies are one map. Returns how long it took. */
async function converge(world: World): Promise<number> {
  const startMs = world.scheduler.nowMs;
  for (;;) {
    const passedMs = world.scheduler.nowMs - startMs;
    await world.advance(COMPARE_MS);
    const difference = differenceOf(world);
    if (!difference) return passedMs;
    if (passedMs > CONVERGE_MS) throw violation(world, `not one map after ${CONVERGE_MS} ms: ${difference}`);
  }
}

/** The entries of a copy that no clock sees as gone. */
function liveEntries(world: World, copy: Entries): Map<string, MapValue> {
  const entries = new Map<string, MapValue>();
  for (const key of copy.keys()) {
    const entry = copy.get(key);
    if (entry && !world.isGone(entry)) entries.set(key, entry);
  }
  return entries;
}

type Entries = { get(key: string): MapValue | undefined; keys(): Iterable<string> };

/** The first difference between the engine and a copy; undefined if there is none. */
function differenceOf(world: World): string | undefined {
  const { engine, copies } = world;
  const engineCopy: Entries = {
    get: (key) => engine.entries.get(key)?.value,
    keys: () => engine.entries.keys(),
  };
  const expected = liveEntries(world, engineCopy);
  for (const copy of copies) {
    const actual = liveEntries(world, copy);
    for (const key of new Set([...expected.keys(), ...actual.keys()])) {
      const [a, b] = [expected.get(key), actual.get(key)];
      if (a && b && orderOf(a, b) === 0) continue;
      // A lifetime that ends about now: one has seen it, the other has not.
      const [one] = [a, b].filter((entry) => entry !== undefined);
      if (one && !(a && b) && world.isEnded(one)) continue;
      return `${copy.id} has ${key}: ${describeEntry(b)}, the engine has ${describeEntry(a)}`;
    }
  }
  return undefined;
}

/** Compares the map with the record of all writes, and each member's reader with its map. */
function checkMap(world: World): void {
  for (const key of world.history.keys) {
    const actual = world.engine.entries.get(key)?.value;
    const live = actual && !world.isGone(actual) ? actual : undefined;
    const fault = world.history.faultOf(key, live, world.isEnded);
    if (!fault) continue;
    const last = describeEntry(world.history.lastOf(key));
    throw violation(world, `${key} is ${describeEntry(actual)}: ${fault}; the last write was ${last}`);
  }
  for (const member of world.copies) if (member instanceof Member) checkReader(world, member);
}

/** Compares what a member shows to its users with its entries, by its own clock. */
function checkReader(world: World, member: Member): void {
  const { replica, size } = member.local;
  const wrongMs = Math.abs(replica.clock.wallMs - world.scheduler.trueMs);
  if (wrongMs > MAX_CLOCK_ERROR_MS)
    throw violation(world, `the clock of ${member.id} is still wrong by ${wrongMs.toFixed(0)} ms`);
  // The reads make lifetimes end; the readers of changes() hear of it a moment later.
  const nowMs = replica.clock.wallMs;
  const live = [...member.keys()].filter((key) => {
    const entry = member.get(key);
    return entry && !isRemoval(entry) && endOf(entry) > nowMs;
  });
  if (live.length !== size)
    throw violation(world, `${member.id} has ${live.length} keys, its size is ${size}`);
  for (const key of live)
    if (!replica.live(key))
      throw violation(world, `${member.id} does not show ${key}, whose lifetime goes on`);
  const { replayed } = member;
  const isEqual = live.every((key) => {
    const [read, entry] = [replayed.get(key), member.get(key)];
    // Its timestamp may have been corrected since.
    return read && entry && Buffer.compare(read.value, entry.value) === 0;
  });
  if (!isEqual || replayed.size !== live.length)
    throw violation(world, `the changes that ${member.id} reported do not lead to its map`);
}

/** synced() resolves for every member, as the server has everything. */
async function checkSync(world: World): Promise<void> {
  const waiting = new Set<string>();
  for (const member of world.copies) {
    if (!(member instanceof Member)) continue;
    waiting.add(member.id);
    world.sync(member).then(
      () => waiting.delete(member.id),
      () => {},
    );
  }
  await world.advance(CONVERGE_MS);
  if (waiting.size > 0) throw violation(world, `synced() does not resolve for ${[...waiting].join(", ")}`);
}

/** While nothing changes, each stream only compares the map now and then. Returns the bytes per second. */
async function checkQuiet(world: World): Promise<number> {
  const before = world.network.sentBytes;
  await world.advance(QUIET_MS);
  const bytes = world.network.sentBytes - before;
  const bound = world.copies.reduce((sum, copy) => {
    return (
      sum + comparisonBytes(copy) * (copy.isForeign ? QUIET_MS / 500 : 2 + (2 * QUIET_MS) / world.plan.idleMs)
    );
  }, 0);
  if (bytes > bound)
    throw violation(world, `${bytes} bytes were sent while nothing changed, more than ${bound}`);
  const difference = differenceOf(world);
  if (difference) throw violation(world, `changed while nothing was written: ${difference}`);
  return bytes / (QUIET_MS / 1000);
}

/** The most bytes that a comparison of a copy with its server takes, both ways. */
function comparisonBytes(copy: { keys(): Iterable<string> }): number {
  return 2 * (200 + [...copy.keys()].length * 60);
}

/** When all tombstones are old, no copy of this package has one left. */
async function checkCollection(world: World): Promise<void> {
  const { tombstoneMs } = world.plan;
  if (tombstoneMs > 3_600_000) return;
  // With several servers, they are kept longer.
  await world.advance(2 * tombstoneMs + 60_000);
  const difference = differenceOf(world);
  if (difference) throw violation(world, `changed when tombstones were collected: ${difference}`);
  if (world.copies.some(({ isForeign }) => isForeign)) return;
  for (const [key, { value }] of world.engine.entries)
    if (world.isGone(value)) throw violation(world, `the engine keeps ${key}: ${describeEntry(value)}`);
  for (const member of world.copies) {
    for (const key of member.keys()) {
      const entry = member.get(key);
      if (entry && isRemoval(entry))
        throw violation(world, `${member.id} keeps ${key}: ${describeEntry(entry)}`);
    }
  }
}

const violation = (world: World, message: string) =>
  new Violation(`at ${world.scheduler.nowMs.toFixed(1)} ms: ${message}`);
