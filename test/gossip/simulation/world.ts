import type { MapValue, Message } from "../../../gen/atomix/map/map_pb.js";
import { MAX_ENGINE_MS, SharedEngine } from "./engine.js";
import { ForeignMember } from "./foreign-member.js";
import { History, Observed } from "./history.js";
import { type Copy, Member, type MemberOptions, TARGET } from "./member.js";
import { Network } from "./network.js";
import { Origin } from "./origin.js";
import { perform } from "./perform.js";
import type { Plan } from "./plan.js";
import { Random } from "./random.js";
import { Scheduler, SimulatedProcess } from "./scheduler.js";
import { Server } from "./server.js";
import { STORED_WITHIN_MS } from "./store.js";
import { describeEntry, endOf, isRemoval, orderOf } from "./version.js";

/** The most lines of the trace that are kept. */
const TRACE_LINES = 400;

/** What a run did that it must not. */
export class Violation extends Error {}

export type AnyMember = Member | ForeignMember;

/** The processes of one run, the network and the engine between them, and what is known of them at each moment. */
export class World {
  readonly plan: Plan;
  readonly scheduler = new Scheduler();
  readonly history = new History();
  readonly network: Network;
  readonly engine: SharedEngine;
  readonly servers: (Server | undefined)[] = [];
  readonly members: (AnyMember | undefined)[] = [];
  readonly trace: string[] = [];
  /** How far any clock of the run is wrong at most, in milliseconds. */
  readonly maxSkewMs: number;
  readonly #random: Random;
  readonly #engineObserved = new Observed();
  /** The keys to check after the present task, by copy. */
  readonly #touched = new Map<Copy, Set<string>>();
  readonly #starts: number[] = [];
  readonly #origins = new Map<number, Origin>();
  /** How far clocks that were set are ahead, by machine. */
  readonly #skews = new Map<string, number>();
  #writes = 0;
  #violation: Violation | undefined;

  constructor(plan: Plan) {
    this.plan = plan;
    this.#random = new Random(`run ${plan.seed}`);
    const skewsMs = plan.steps.map((step) => (step.type === "setClock" ? step.skewMs : 0));
    this.maxSkewMs = 10 + Math.max(...[...skewsMs, ...plan.skewsMs].map(Math.abs));
    this.network = new Network(this.scheduler, plan.latencyMs, ({ random }) => {
      const running = this.servers.filter((server) => server !== undefined);
      return running.length === 0 ? undefined : random.pick(running);
    });
    this.engine = new SharedEngine(this.scheduler, TARGET, (key, entry) => this.#checkEngine(key, entry));
    for (let i = 0; i < plan.servers; i++) this.startServer(i);
    for (let i = 0; i < plan.members + plan.foreignMembers; i++)
      this.scheduler.after(plan.startsMs[i] ?? 0, () => this.startMember(i));
    for (const step of plan.steps) this.scheduler.after(step.atMs, () => perform(this, step));
  }

  /** All copies of members that run. */
  get copies(): AnyMember[] {
    return this.members.filter((member) => member !== undefined);
  }

  /** Lets the time `forMs` pass. Throws the first Violation. */
  async advance(forMs: number): Promise<void> {
    await this.scheduler.run(this.scheduler.nowMs + forMs, () => {
      for (const [copy, keys] of this.#touched) for (const key of keys) this.#checkCopy(copy, key);
      this.#touched.clear();
      if (this.#violation) throw this.#violation;
    });
    for (const copy of this.copies) for (const key of copy.observed.keys) this.#checkCopy(copy, key);
    if (this.#violation) throw this.#violation;
  }

  log(line: string): void {
    this.trace.push(`${this.scheduler.nowMs.toFixed(1).padStart(9)} ${line}`);
    if (this.trace.length > 2 * TRACE_LINES) this.trace.splice(0, TRACE_LINES);
  }

  /** Whether a clock of the run may be past the end of the entry's lifetime. */
  readonly isEnded = (entry: MapValue): boolean => endOf(entry) < this.scheduler.trueMs + this.maxSkewMs;

  /** Whether no clock of the run may be past it. */
  readonly isLive = (entry: MapValue): boolean =>
    !isRemoval(entry) && endOf(entry) > this.scheduler.trueMs + this.maxSkewMs;

  /** Whether all clocks of the run are past it, or the entry is a removal. */
  readonly isGone = (entry: MapValue): boolean =>
    isRemoval(entry) || endOf(entry) < this.scheduler.trueMs - this.maxSkewMs;

  /** To be called for the first thing that is wrong. */
  fail(message: string): void {
    this.#violation ??= new Violation(`at ${this.scheduler.nowMs.toFixed(1)} ms: ${message}`);
  }

  /** Randomness of its own for what is called `name`. */
  randomOf(name: string): Random {
    return this.#random.fork(name);
  }

  /** Numbers all writes, so that each has a value of its own. */
  nextWrite(): number {
    return ++this.#writes;
  }

  startServer(number: number): void {
    if (this.servers[number]) return;
    const { plan } = this;
    const name = `server ${number}.${this.#nextStart(number + 1000)}`;
    this.log(`${name} starts`);
    const skewMs = plan.skewsMs[plan.members + plan.foreignMembers + number] ?? 0;
    const random = this.#random.fork(name);
    const process = new SimulatedProcess(this.scheduler, random.fork("process"), skewMs);
    const { flushMs, antiEntropyMs, idleMs, tombstoneMs, maxAheadMs } = plan;
    const gossip = { flushMs, antiEntropyMs, idleMs, tombstoneMs, maxAheadMs };
    this.servers[number] = new Server({
      process,
      random,
      engine: this.engine,
      hasPeers: plan.servers > 1,
      gossip,
    });
  }

  killServer(number: number): void {
    const server = this.servers[number];
    if (!server) return;
    this.log(`server ${number} is killed`);
    server.kill();
    this.servers[number] = undefined;
    this.network.cutDead(server.process, this.#random.fork(`kill ${this.scheduler.nowMs}`));
  }

  startMember(index: number): void {
    if (this.members[index]) return;
    const { plan, network } = this;
    const { flushMs, antiEntropyMs, tombstoneMs, maxAheadMs } = plan;
    const id = `m${index}.${this.#nextStart(index)}`;
    const random = this.#random.fork(id);
    const process = new SimulatedProcess(this.scheduler, random.fork("process"), this.#skewOf(index));
    const options: MemberOptions = {
      index,
      id,
      process,
      random,
      network,
      settings: { flushMs, antiEntropyMs, tombstoneMs, maxAheadMs },
      origin: this.#originOf(index),
      onRestamp: (key, before, after) => {
        this.log(`${id} stamps ${key} again: ${describeEntry(before)} becomes ${describeEntry(after)}`);
        this.history.replace(key, before, after);
      },
      onRead: (message) => this.#touchAll(member, message),
      onWrite: (key, entry) => {
        this.log(`${id} writes ${key}: ${describeEntry(entry)}`);
        this.history.add(key, entry);
        this.#touch(member, [key]);
      },
    };
    const isForeign = index >= plan.members;
    const member: AnyMember = isForeign ? new ForeignMember(options) : new Member(options);
    this.members[index] = member;
    this.log(`${id} starts${isForeign ? ", a foreign member" : ""}`);
    // A map with a disk opens with what that has.
    if (member instanceof Member && !member.origin) void this.#checkCaughtUp(member);
  }

  /** Sets the clock of a member's machine, which the tabs of an origin share. */
  setClock(index: number, skewMs: number): void {
    const machine = this.#machineOf(index);
    this.#skews.set(machine, skewMs);
    for (const member of this.copies)
      if (this.#machineOf(member.index) === machine) member.process.skewMs = skewMs;
  }

  killMember(index: number): void {
    const member = this.members[index];
    if (!member) return;
    this.log(`${member.id} is killed`);
    member.kill();
    this.#remove(index, member);
  }

  /** Leaves properly, which may lose writes only if there is no connection. */
  async closeMember(index: number): Promise<void> {
    const member = this.members[index];
    if (!(member instanceof Member)) return this.killMember(index);
    this.log(`${member.id} closes`);
    await member.close();
    if (this.members[index] !== member) return;
    this.log(`${member.id} has closed`);
    member.kill();
    this.#remove(index, member);
  }

  /** Ends all faults: everything runs and can reach everything from now on. */
  heal(): void {
    this.log("everything heals");
    const { plan } = this;
    for (let i = 0; i < plan.servers; i++) {
      this.startServer(i);
      this.servers[i]?.connection.restore();
    }
    for (let i = 0; i < plan.members + plan.foreignMembers; i++) {
      this.startMember(i);
      Object.assign(this.network.conditionsOf(i), { latencyMs: [1, 20], readMs: 0, blocked: "no" });
    }
  }

  /** Ends all processes, which frees what they hold. */
  async close(): Promise<void> {
    for (const member of this.copies) member.kill();
    for (const server of this.servers) server?.kill();
    await this.engine.close();
  }

  /** Checks that a member's synced() tells the truth: its writes are in the engine when it resolves. */
  async sync(member: Member): Promise<void> {
    const written = new Map(member.written);
    await member.local.synced({});
    this.log(`${member.id} is synced`);
    for (const [key, write] of written) {
      const entry = member.restampOf(key, write.entry);
      const stored = this.#engineObserved.newestOf(key);
      if (!stored || orderOf(stored, entry) < 0) {
        const both = `${describeEntry(entry)}, the engine has had ${describeEntry(stored)}`;
        this.fail(`synced() of ${member.id} resolved although the engine has not got ${key}: ${both}`);
      }
    }
  }

  /** Checks that a member that has caught up has what the engine had when it began. */
  async #checkCaughtUp(member: Member): Promise<void> {
    const startedMs = this.scheduler.nowMs;
    // A server may get the writes of the others later.
    const before = [...this.engine.entries].filter(([, { atMs }]) => atMs < startedMs - 10 * MAX_ENGINE_MS);
    try {
      await member.local.caughtUp({});
    } catch {
      return;
    }
    this.log(`${member.id} has caught up`);
    for (const [key, { value }] of before) {
      const own = member.get(key);
      // Its tombstone may have been collected everywhere meanwhile.
      if (!own && (isRemoval(value) || this.isEnded(value))) continue;
      if (!own && this.engine.entries.get(key) === undefined) continue;
      if (!own || orderOf(own, value) < 0)
        this.fail(
          `${member.id} says it has caught up with ${key}: ${describeEntry(own)}, not ${describeEntry(value)}`,
        );
    }
  }

  #machineOf(index: number): string {
    const origin = this.plan.origins[index];
    return origin === undefined ? `member ${index}` : `origin ${origin}`;
  }

  #skewOf(index: number): number {
    const machine = this.#machineOf(index);
    const first = this.plan.skewsMs.findIndex((_, i) => this.#machineOf(i) === machine);
    return this.#skews.get(machine) ?? this.plan.skewsMs[first] ?? 0;
  }

  #originOf(index: number): Origin | undefined {
    const number = this.plan.origins[index];
    if (number === undefined) return undefined;
    const origin = this.#origins.get(number) ?? new Origin();
    this.#origins.set(number, origin);
    return origin;
  }

  #nextStart(number: number): number {
    this.#starts[number] = (this.#starts[number] ?? 0) + 1;
    return this.#starts[number];
  }

  /** What only this member had is lost. */
  #remove(index: number, member: AnyMember): void {
    this.members[index] = undefined;
    if (member instanceof Member) member.origin?.release(member.process);
    const disks = [...this.#origins.values()].map(({ disk }) => disk.entries());
    for (const key of member.keys()) {
      const held = [
        this.#engineObserved.newestOf(key),
        ...this.copies.map(({ observed }) => observed.newestOf(key)),
        ...disks.map((entries) => entries.get(key)),
        this.#storedBy(member, key),
      ].filter((entry) => entry !== undefined);
      this.history.lose(key, held.sort(orderOf).at(-1));
    }
    this.network.cutDead(member.process, this.#random.fork(`kill ${this.scheduler.nowMs}`));
  }

  /** The newest write of a member that must be on its disk by now. */
  #storedBy(member: AnyMember, key: string): MapValue | undefined {
    if (!(member instanceof Member && member.origin)) return undefined;
    const written = member.written.get(key);
    const isStored = written && written.atMs < this.scheduler.nowMs - STORED_WITHIN_MS;
    return isStored ? member.restampOf(key, written.entry) : undefined;
  }

  #touchAll(copy: Copy, { message }: Message): void {
    if (message.case === "update") this.#touch(copy, Object.keys(message.value.updates));
  }

  #touch(copy: Copy, keys: readonly string[]): void {
    const touched = this.#touched.get(copy);
    if (touched) for (const key of keys) touched.add(key);
    else this.#touched.set(copy, new Set(keys));
  }

  #checkCopy(copy: Copy, key: string): void {
    if (copy.process.isDead) return;
    const now = copy.get(key);
    const before = copy.observed.newestOf(key);
    const fault = copy.observed.faultOf(key, now, this.isEnded);
    if (fault)
      this.fail(`${copy.id} ${fault}: ${key} was ${describeEntry(before)}, is ${describeEntry(now)}`);
  }

  #checkEngine(key: string, entry: MapValue | undefined): void {
    const before = this.#engineObserved.newestOf(key);
    const fault = this.#engineObserved.faultOf(key, entry, this.isEnded);
    if (fault)
      this.fail(`the engine ${fault}: ${key} was ${describeEntry(before)}, is ${describeEntry(entry)}`);
  }
}
