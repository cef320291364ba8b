import { fromBinary } from "@bufbuild/protobuf";
import { type MapValue, MapValueSchema } from "../../../gen/atomix/map/map_pb.js";
import type { Change, Commit, Entry, KeyStore, Write } from "../../../src/server/engine.js";
import { EngineFault } from "../../../src/server/engine.js";
import { memoryEngine } from "../../../src/server/engines/memory.js";
import { keyPrefix } from "../../../src/server/services/shared/keyspace.js";
import type { Random } from "./random.js";
import type { Scheduler, SimulatedProcess } from "./scheduler.js";

/** A commit or a change takes at most so long between the engine and a server, in milliseconds. */
export const MAX_ENGINE_MS = 30;

/** The engine that the servers share, which loses nothing, and a record of the map's entries in it. */
export class SharedEngine {
  readonly #engine;
  readonly #prefix: string;
  readonly #onStored: (key: string, value: MapValue | undefined) => void;
  /** The entries of the map by key. */
  readonly entries = new Map<string, { value: MapValue; atMs: number }>();
  readonly #scheduler: Scheduler;

  /** `onStored` is called with each change of an entry: undefined if it was removed. */
  constructor(
    scheduler: Scheduler,
    target: { namespace: string; name: string },
    onStored: (key: string, value: MapValue | undefined) => void,
  ) {
    this.#scheduler = scheduler;
    this.#engine = memoryEngine({ now: () => scheduler.nowMs });
    this.#prefix = keyPrefix("gossip", target.namespace, target.name);
    this.#onStored = onStored;
  }

  /** The engine as one server sees it. */
  connect(process: SimulatedProcess, random: Random): EngineConnection {
    return new EngineConnection(this, this.#engine, process, random);
  }

  /** Keeps the record of the map's entries. */
  record(writes: readonly Write[]): void {
    for (const write of writes) {
      if (!write.key.startsWith(this.#prefix) || write.type === "check") continue;
      const key = write.key.slice(this.#prefix.length);
      const value = write.type === "set" ? fromBinary(MapValueSchema, write.value) : undefined;
      if (value) this.entries.set(key, { value, atMs: this.#scheduler.nowMs });
      else this.entries.delete(key);
      this.#onStored(key, value);
    }
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

/** One server's connection to the engine: calls and changes take time, and fail while it is interrupted. */
export class EngineConnection {
  readonly #shared: SharedEngine;
  readonly #process: SimulatedProcess;
  readonly #random: Random;
  readonly #watches = new Set<AbortController>();
  #isInterrupted = false;
  readonly engine;

  constructor(
    shared: SharedEngine,
    engine: ReturnType<typeof memoryEngine>,
    process: SimulatedProcess,
    random: Random,
  ) {
    this.#shared = shared;
    this.#process = process;
    this.#random = random;
    this.engine = { ...engine, keys: this.#keys(engine.keys) };
  }

  /** Fails all watches, and all calls until restore(). */
  interrupt(): void {
    this.#isInterrupted = true;
    for (const watch of this.#watches) watch.abort();
  }

  restore(): void {
    this.#isInterrupted = false;
  }

  #keys(keys: KeyStore): KeyStore {
    return {
      get: (key) => this.#call(() => keys.get(key)),
      getMany: (names) => this.#call(() => keys.getMany(names)),
      commit: (writes) => this.#call(() => this.#commit(keys, writes)),
      list: (prefix, after) => this.#list(keys, prefix, after),
      watch: (prefix, signal) => this.#watch(keys, prefix, signal),
    };
  }

  async #commit(keys: KeyStore, writes: readonly Write[]): Promise<Commit> {
    const commit = await keys.commit(writes);
    if ("version" in commit) this.#shared.record(writes);
    return commit;
  }

  /** Delays a call, and its result. It may fail before the engine gets it, or only its result may be lost. */
  async #call<T>(run: () => Promise<T>): Promise<T> {
    await this.#delay();
    this.#checkConnection();
    const result = await run();
    await this.#delay();
    this.#checkConnection();
    return result;
  }

  async *#list(keys: KeyStore, prefix: string, after?: string): AsyncIterable<Entry> {
    const entries = await this.#call(async () => {
      const all: Entry[] = [];
      for await (const entry of keys.list(prefix, after)) all.push(entry);
      return all;
    });
    yield* entries;
  }

  #watch(keys: KeyStore, prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    const broken = new AbortController();
    const changes = keys.watch(prefix, AbortSignal.any([signal, broken.signal]));
    this.#watches.add(broken);
    if (this.#isInterrupted) broken.abort();
    return this.#delayed(changes, broken);
  }

  /** Delays changes, in order: those that follow another closely are under way at the same time. */
  async *#delayed(changes: AsyncIterable<Change>, broken: AbortController): AsyncIterable<Change> {
    const arrivals: (Change | undefined)[] = [];
    let wake = () => {};
    let lastMs = 0;
    const arrive = (change: Change | undefined) => {
      const nowMs = this.#process.monotonicMs();
      lastMs = Math.max(lastMs, nowMs + this.#latencyMs());
      this.#process.after(lastMs - nowMs, () => {
        arrivals.push(change);
        wake();
      });
    };
    const follow = async () => {
      for await (const change of changes) arrive(change);
      arrive(undefined);
    };
    void follow();
    try {
      while (!broken.signal.aborted) {
        if (arrivals.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const change = arrivals.shift();
        if (!change) break;
        yield change;
      }
      if (broken.signal.aborted) throw unreachable();
    } finally {
      this.#watches.delete(broken);
    }
  }

  #latencyMs(): number {
    return this.#random.between(0.1, this.#random.hasChance(0.1) ? MAX_ENGINE_MS : 2);
  }

  #delay(): Promise<void> {
    return this.#process.delay(this.#latencyMs());
  }

  #checkConnection(): void {
    if (this.#isInterrupted) throw unreachable();
  }
}

const unreachable = () => new EngineFault("unavailable", "the engine cannot be reached");
