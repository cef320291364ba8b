import type { MapValue, Message } from "../../../gen/atomix/map/map_pb.js";
import type { Difference } from "../../../src/client/gossip-map/changes.js";
import { LocalMember } from "../../../src/client/gossip-map/member.js";
import type { Stored } from "../../../src/gossip/replica.js";
import { utf8 } from "../../../src/lib/utf8.js";
import { Observed } from "./history.js";
import type { Network, StreamClient } from "./network.js";
import type { Origin } from "./origin.js";
import type { Random } from "./random.js";
import type { SimulatedProcess } from "./scheduler.js";
import { isRemoval, orderOf } from "./version.js";

export const TARGET = { namespace: "default", name: "simulated" };

interface MemberSettings {
  flushMs: number;
  antiEntropyMs: number;
  tombstoneMs: number;
  maxAheadMs: number;
}

/** What the run does with its copies, whoever they belong to. */
export interface Copy {
  readonly id: string;
  readonly process: SimulatedProcess;
  readonly observed: Observed;
  /** Whether it is a member of this package, which keeps all that the protocol allows. */
  readonly isForeign: boolean;
  get(key: string): MapValue | undefined;
  keys(): Iterable<string>;
}

export interface MemberOptions {
  index: number;
  id: string;
  process: SimulatedProcess;
  random: Random;
  network: Network;
  settings: MemberSettings;
  onRead: (message: Message) => void;
  onWrite: (key: string, entry: MapValue) => void;
  /** Called when a write has got another timestamp. */
  onRestamp: (key: string, before: MapValue, after: MapValue) => void;
  /** The tabs that it belongs to, with their disk; undefined: it is kept only in memory. */
  origin: Origin | undefined;
}

/** One run of a client: the real member of a gossip map, on the simulated network. */
export class Member implements Copy, StreamClient {
  readonly index: number;
  readonly id: string;
  readonly process: SimulatedProcess;
  readonly random: Random;
  readonly observed = new Observed();
  readonly isForeign = false;
  readonly local: LocalMember;
  readonly onRead: (message: Message) => void;
  /** The map that the reader of changes() knows. */
  readonly replayed = new Map<string, MapValue>();
  readonly #onWrite: (key: string, entry: MapValue) => void;
  readonly origin: Origin | undefined;
  /** The newest own write of each key, and its time. */
  readonly written = new Map<string, { entry: MapValue; atMs: number }>();
  readonly #restamps = new Map<string, { before: MapValue; after: MapValue }[]>();
  #isClosing = false;

  constructor({ index, id, process, random, network, settings, onRead, onWrite, ...rest }: MemberOptions) {
    this.index = index;
    this.id = id;
    this.process = process;
    this.random = random;
    this.onRead = onRead;
    this.#onWrite = onWrite;
    this.origin = rest.origin;
    const options = {
      ...TARGET,
      ...settings,
      memberId: id,
      persist: this.origin?.disk.connect(process, random.fork("disk"), "origin"),
      tabs: this.origin?.connect(process, random.fork("tabs")),
      signal: undefined,
      call: {},
    };
    this.local = new LocalMember(network.transportOf(this), TARGET.name, {
      ...options,
      environment: process,
    });
    this.#followRestamps(rest.onRestamp);
    void this.#replay();
  }

  get(key: string): MapValue | undefined {
    return this.local.replica.get(key);
  }

  keys(): Iterable<string> {
    return this.local.replica.keys();
  }

  set(key: string, value: string, ttlMs?: number): void {
    const lifetime = ttlMs === undefined ? undefined : { ttlMs, isEphemeral: false };
    this.#write("set", () => [this.local.replica.set(key, utf8(value), lifetime)]);
  }

  delete(keys: Iterable<string>): void {
    this.#write("delete", () => this.local.replica.delete(keys));
  }

  /** What has become of an own write: it may have got another timestamp, or been replaced before that. */
  restampOf(key: string, entry: MapValue): MapValue {
    let current = entry;
    for (const { before, after } of this.#restamps.get(key) ?? [])
      if (orderOf(current, before) <= 0 && orderOf(current, after) > 0) current = after;
    return current;
  }

  /** Sends what is pending and leaves. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.local.close();
  }

  /** Ends it without a word to anybody. */
  kill(): void {
    this.process.kill();
    // It would keep this program running.
    this.local.status.close();
    this.local.replica.stop();
  }

  #write(operation: string, change: () => Stored[]): void {
    if (this.#isClosing) return;
    const stored: Stored[] = [];
    this.local.write(operation, () => {
      stored.push(...change());
      return stored;
    });
    for (const { key, after } of stored) {
      this.written.set(key, { entry: after, atMs: this.process.monotonicMs() });
      this.#onWrite(key, after);
    }
  }

  /** Notes the writes that get another timestamp, or are dropped, because the clock was too far ahead. */
  #followRestamps(onRestamp: MemberOptions["onRestamp"]): void {
    const { replica } = this.local;
    const { restamp, drop } = replica;
    replica.restamp = (keys) => {
      const all = [...keys];
      const before = new Map(all.map((key) => [key, replica.get(key)]));
      const restamped = restamp.call(replica, all);
      for (const { key, after } of restamped) {
        this.observed.forget(key);
        const earlier = before.get(key);
        if (!earlier) continue;
        this.#restamps.set(key, [...(this.#restamps.get(key) ?? []), { before: earlier, after }]);
        onRestamp(key, earlier, after);
      }
      return restamped;
    };
    replica.drop = (keys) => {
      const all = [...keys];
      for (const key of all) this.observed.forget(key);
      return drop.call(replica, all);
    };
  }

  async #replay(): Promise<void> {
    async function* unchanged(differences: AsyncIterable<Difference>): AsyncGenerator<Difference, void> {
      yield* differences;
    }
    for await (const { key, after } of this.local.changes(undefined, unchanged)) {
      if (after && !isRemoval(after)) this.replayed.set(key, after);
      else this.replayed.delete(key);
    }
  }
}
