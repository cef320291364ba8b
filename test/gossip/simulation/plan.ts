import { Random } from "./random.js";

/** One thing that happens in a run. Members and servers are named by their numbers. */
export type Step = { atMs: number } & (
  | { type: "set"; member: number; key: string; bytes: number; ttlMs?: number }
  | { type: "delete"; member: number; key: string }
  | { type: "clear"; member: number }
  | { type: "bulk"; member: number; from: number; count: number; operation: "set" | "delete" }
  | { type: "sync"; member: number }
  | { type: "cut"; member: number }
  | { type: "partition"; members: number[]; forMs: number; isSilent: boolean }
  | { type: "delay"; member: number; byMs: number; forMs: number }
  | { type: "slowReader"; member: number; readMs: number; forMs: number }
  | { type: "setClock"; process: "member" | "server"; number: number; skewMs: number }
  | { type: "killMember"; member: number; forMs: number }
  | { type: "closeMember"; member: number; forMs: number }
  | { type: "killServer"; server: number; forMs: number }
  | { type: "interruptEngine"; server: number; forMs: number }
);

/** A whole run as data, so that it can be repeated, printed and made smaller. */
export interface Plan {
  readonly seed: number;
  readonly members: number;
  readonly foreignMembers: number;
  readonly servers: number;
  /** The origin of each member, by its number: members of an origin share a disk. Undefined: only in memory. */
  readonly origins: readonly (number | undefined)[];
  /** When each member starts, then each foreign member, in milliseconds. */
  readonly startsMs: readonly number[];
  /** How far ahead the clock of each member is, then that of each server, in milliseconds. */
  readonly skewsMs: readonly number[];
  readonly latencyMs: [number, number];
  readonly flushMs: number;
  readonly antiEntropyMs: number;
  readonly idleMs: number;
  readonly tombstoneMs: number;
  readonly maxAheadMs: number;
  /** How long the steps take. */
  readonly durationMs: number;
  readonly steps: readonly Step[];
}

/** The parameters of one kind of run. */
interface Profile {
  members: [number, number];
  keys: [number, number];
  writes: [number, number];
  faults: [number, number];
  /** How many of the writes are of hundreds of keys. */
  bulk: number;
}

const PROFILES: readonly (Profile & { weight: number })[] = [
  // Few members on few keys, with many faults.
  { weight: 5, members: [2, 8], keys: [1, 6], writes: [40, 150], faults: [5, 25], bulk: 0 },
  // Many keys: chunks, and buckets of hashes.
  { weight: 1, members: [2, 4], keys: [1100, 1800], writes: [5, 30], faults: [2, 10], bulk: 0.3 },
  // Many members.
  { weight: 1, members: [20, 50], keys: [5, 40], writes: [40, 120], faults: [5, 30], bulk: 0 },
  // Two members, and little else.
  { weight: 2, members: [2, 2], keys: [1, 3], writes: [5, 30], faults: [1, 8], bulk: 0 },
];

/** How far a clock may be ahead of the server's, in milliseconds. */
const MAX_AHEAD_MS = 60_000;

/** The plan of a seed. */
export function planOf(seed: number): Plan {
  const random = new Random(`plan ${seed}`);
  const profile = pickProfile(random);
  const members = random.whole(...profile.members);
  const foreignMembers = random.hasChance(0.3) && profile.bulk === 0 ? random.whole(1, 2) : 0;
  const servers = random.hasChance(0.5) ? 1 : random.whole(2, 3);
  const durationMs = random.between(10_000, 40_000);
  const clients = members + foreignMembers;
  // Tombstones are either collected, or the clocks may differ much.
  const tombstoneMs = random.hasChance(0.5) ? random.between(90_000, 200_000) : 24 * 3_600_000;
  const isFarOff = tombstoneMs > 3_600_000 && foreignMembers === 0 && random.hasChance(0.5);
  // How many members are tabs of one origin.
  const tabs = isFarOff ? 1 : random.pick([1, 1, 2, 4]);
  const persistence = random.pick([0, 0.5, 1]);
  const maxSkewMs = isFarOff ? 3_600_000 : random.pick([0, 500, 3000]);
  const skewMs = () => random.between(-maxSkewMs, maxSkewMs);
  // Servers correct no clocks.
  const serverSkewMs = () => random.between(-1, 1) * Math.min(maxSkewMs, 3000);
  const shape = {
    members,
    foreignMembers,
    servers,
    durationMs,
    skewMs,
    serverSkewMs,
    isFarOff,
    keys: random.whole(...profile.keys),
  };
  return {
    seed,
    members,
    foreignMembers,
    servers,
    origins: Array.from({ length: members }, (_, i) =>
      random.hasChance(persistence) ? Math.floor(i / tabs) : undefined,
    ),
    startsMs: Array.from({ length: clients }, () =>
      random.hasChance(0.7) ? random.between(0, 500) : random.between(0, durationMs),
    ),
    skewsMs: Array.from({ length: clients + servers }, (_, i) => (i < clients ? skewMs() : serverSkewMs())),
    latencyMs: random.pick<[number, number]>([
      [0.1, 1],
      [5, 40],
      [1, 300],
    ]),
    flushMs: random.pick([0, 10, 50]),
    antiEntropyMs: random.pick([300, 1000, 2000]),
    idleMs: 30_000,
    tombstoneMs,
    maxAheadMs: MAX_AHEAD_MS,
    durationMs,
    steps: [...writesOf(random, profile, shape), ...faultsOf(random, profile, shape)].sort(
      (a, b) => a.atMs - b.atMs,
    ),
  };
}

interface Shape {
  members: number;
  foreignMembers: number;
  servers: number;
  durationMs: number;
  keys: number;
  skewMs: () => number;
  serverSkewMs: () => number;
  /** Whether clocks are wrong by up to an hour. */
  isFarOff: boolean;
}

function pickProfile(random: Random): Profile {
  let chosen = random.between(
    0,
    PROFILES.reduce((sum, { weight }) => sum + weight, 0),
  );
  return PROFILES.find(({ weight }) => (chosen -= weight) < 0) ?? (PROFILES[0] as Profile);
}

function writesOf(random: Random, profile: Profile, shape: Shape): Step[] {
  const { members, foreignMembers, durationMs, keys, isFarOff } = shape;
  const hasLifetimes = foreignMembers === 0 && !isFarOff && random.hasChance(0.5);
  // Some runs write in bursts, so that writes of several members are under way at the same time.
  const bursts = random.hasChance(0.5) ? random.whole(1, 6) : 0;
  const burstsMs = Array.from({ length: bursts }, () => random.between(0, durationMs));
  return Array.from({ length: random.whole(...profile.writes) }, (): Step => {
    const atMs = bursts > 0 ? random.pick(burstsMs) + random.between(0, 300) : random.between(0, durationMs);
    const member = random.whole(0, members + foreignMembers - 1);
    const key = `k${random.whole(0, keys - 1)}`;
    if (profile.bulk > 0 && random.hasChance(profile.bulk)) {
      const count = random.pick([100, 1000, 1000, random.whole(1, keys)]);
      const operation = random.hasChance(0.7) ? "set" : "delete";
      return { atMs, type: "bulk", member, from: random.whole(0, keys - 1), count, operation };
    }
    const chosen = random.next();
    const set: Step = { atMs, type: "set", member, key, bytes: random.pick([0, 10, 10, 2000]) };
    if (hasLifetimes && chosen < 0.2) return { ...set, ttlMs: Math.round(random.between(100, 60_000)) };
    if (chosen < 0.6) return set;
    if (chosen < 0.88) return { atMs, type: "delete", member, key };
    return chosen < 0.9 ? { atMs, type: "clear", member } : { atMs, type: "sync", member };
  });
}

function faultsOf(random: Random, profile: Profile, shape: Shape): Step[] {
  return Array.from({ length: random.whole(...profile.faults) }, () => faultOf(random, shape));
}

function faultOf(random: Random, shape: Shape): Step {
  const { members, foreignMembers, servers, durationMs } = shape;
  const atMs = random.between(0, durationMs);
  const member = random.whole(0, members + foreignMembers - 1);
  const server = random.whole(0, servers - 1);
  const forMs = random.hasChance(0.7) ? random.between(10, 3000) : random.between(3000, 15_000);
  switch (random.whole(0, 10)) {
    case 0:
    case 1:
    case 2:
      return { atMs, type: "cut", member };
    case 3: {
      const all = Array.from({ length: members + foreignMembers }, (_, i) => i);
      const partition = all.filter(() => random.hasChance(0.5));
      return { atMs, type: "partition", members: partition, forMs, isSilent: random.hasChance(0.5) };
    }
    case 4:
      return { atMs, type: "delay", member, byMs: random.pick([50, 500, 3000]), forMs };
    case 5:
      return { atMs, type: "slowReader", member, readMs: random.pick([5, 50, 400]), forMs };
    case 6: {
      const isMember = random.hasChance(0.7);
      const process = isMember ? "member" : "server";
      const skewMs = isMember ? shape.skewMs() : shape.serverSkewMs();
      return { atMs, type: "setClock", process, number: isMember ? member : server, skewMs };
    }
    case 7:
      return { atMs, type: "killMember", member, forMs };
    case 8:
      return { atMs, type: "closeMember", member, forMs };
    case 9:
      return { atMs, type: "killServer", server, forMs };
    default:
      return { atMs, type: "interruptEngine", server, forMs };
  }
}
