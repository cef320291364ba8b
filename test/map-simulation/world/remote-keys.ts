import type { Change, Commit, Entry, KeyStore, Write } from "../../../src/server/engine.js";
import type { Machine } from "./machine.js";
import type { Channel } from "./network.js";

/** How a process reaches its engine: calls `run` at the engine, or back in the process, when the message arrives. */
export interface EngineRoute {
  toEngine(run: () => void): void;
  toProcess(channel: Channel, run: () => void): void;
  /** The error of a call that was not answered in time. */
  fail(): Error;
  timeoutMs: number;
}

/** The keys of an engine for one process: each call and each answer takes time, and may be lost with the process. */
export class RemoteKeys implements KeyStore {
  readonly #keys: KeyStore;
  readonly #machine: Machine;
  readonly #route: EngineRoute;

  constructor(keys: KeyStore, machine: Machine, route: EngineRoute) {
    this.#keys = keys;
    this.#machine = machine;
    this.#route = route;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#call(() => this.#keys.get(key));
  }

  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    return this.#call(() => this.#keys.getMany(keys));
  }

  commit(writes: readonly Write[]): Promise<Commit> {
    return this.#call(() => this.#keys.commit(writes));
  }

  async *list(prefix: string, after?: string): AsyncGenerator<Entry, void, undefined> {
    yield* await this.#call(async () => {
      const all: Entry[] = [];
      for await (const entry of this.#keys.list(prefix, after)) all.push(entry);
      return all;
    });
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    // Changes are reported from the call on, so it must not take time to begin.
    const changes = this.#keys.watch(prefix, signal);
    const channel: Channel = { lastMs: 0 };
    const arrived: Change[] = [];
    let hasEnded = false;
    let wake = () => {};
    const end = () => {
      hasEnded = true;
      wake();
    };
    const receive = (run: () => void) =>
      this.#route.toProcess(channel, () => {
        run();
        wake();
      });
    void (async () => {
      for await (const change of changes) receive(() => arrived.push(change));
      receive(end);
    })();
    signal.addEventListener("abort", end, { once: true });
    return (async function* () {
      while (!hasEnded) {
        const change = arrived.shift();
        if (change) yield change;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    })();
  }

  #call<T>(run: () => Promise<T>): Promise<T> {
    const { toEngine, toProcess, fail, timeoutMs } = this.#route;
    return new Promise((resolve, reject) => {
      const stop = this.#machine.after(timeoutMs, () => reject(fail()));
      const answer = (settle: () => void) =>
        toProcess({ lastMs: 0 }, () => {
          stop();
          settle();
        });
      toEngine(() => {
        run().then(
          (value) => answer(() => resolve(value)),
          (error) => answer(() => reject(error)),
        );
      });
    });
  }
}
