import type { CallOptions } from "@connectrpc/connect";
import type { VersionedMap } from "../../src/client/map.js";
import { History } from "../../src/conformance/history/history.js";
import type { MapCall, MapOutcome } from "./map-history.js";
import type { World } from "./world.js";

/** How many operations begin before the clients move on to other keys. Short histories are checked quickly. */
const OPERATIONS_PER_KEYS = 75;

/** How many keys are used at the same time. */
const KEYS = 3;

/** How long a client waits after a call that has failed, in milliseconds. */
const PAUSE_MS: [number, number] = [20, 250];

/** One client of the map: it makes one call at a time. */
export interface MapClient {
  readonly number: number;
  readonly map: Pick<VersionedMap<string>, "get" | "put" | "remove">;
  /** Called with the error of a call that has failed otherwise than by a conflict. */
  onFailure(key: string, error: unknown): void;
}

/** The concurrent calls of all clients, and their history. */
export class Workload {
  readonly history = new History<MapCall, MapOutcome>();
  readonly #world: World;
  /** The version of each key that a client has seen last, for conditions. */
  readonly #versions = new Map<string, bigint>();
  readonly keys = new Set<string>();
  #calls = 0;
  #values = 0;
  isStopping = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** Makes random calls until `isStopping` is set. */
  async run(client: MapClient): Promise<void> {
    const { scheduler } = this.#world;
    while (!this.isStopping) {
      await scheduler.sleep(scheduler.between(5, 150));
      if (!(await this.call(client, this.#nextCall(client))))
        await scheduler.sleep(scheduler.between(...PAUSE_MS));
    }
  }

  /** Makes a call and records it. Returns its outcome; undefined if it is unknown. */
  call(client: MapClient, call: MapCall): Promise<MapOutcome | undefined> {
    const { realms, scheduler } = this.#world;
    const { conflictFacts } = realms.clients.program;
    const options = { timeoutMs: Math.floor(scheduler.between(50, 800)) };
    this.keys.add(call.key);
    return this.history.call(client.number, call, async () => {
      try {
        const outcome = await perform(client.map, call, options);
        const version = "entry" in outcome ? outcome.entry?.version : "version" in outcome && outcome.version;
        if (version) this.#versions.set(call.key, version);
        return outcome;
      } catch (error) {
        const conflict = conflictFacts(error);
        if (conflict) return { conflict: true, actual: conflict.version };
        client.onFailure(call.key, error);
        throw error;
      }
    });
  }

  /** A random call. Every second client mainly reads: it stays with a server that only reads succeed on. */
  #nextCall({ number }: MapClient): MapCall {
    const { scheduler } = this.#world;
    const generation = Math.floor(this.#calls++ / OPERATIONS_PER_KEYS);
    const key = `k${generation * KEYS + Math.floor(scheduler.random() * KEYS)}`;
    const version = this.#versions.get(key);
    if (scheduler.random() < (number % 2 === 0 ? 0.2 : 0.9)) return { do: "get", key };
    const dice = scheduler.random();
    if (dice < 0.4) return { do: "put", key, value: this.#nextValue() };
    if (dice < 0.55) return { do: "put", key, value: this.#nextValue(), condition: "absent" };
    if (dice < 0.8 && version) return { do: "put", key, value: this.#nextValue(), condition: version };
    if (dice < 0.88 && version) return { do: "remove", key, condition: version };
    return { do: "remove", key };
  }

  #nextValue = (): string => `v${++this.#values}`;
}

async function perform(map: MapClient["map"], call: MapCall, options: CallOptions): Promise<MapOutcome> {
  const { key } = call;
  if (call.do === "get") {
    const entry = await map.get(key, options);
    return { entry: entry && { value: entry.value, version: entry.version } };
  }
  if (call.do === "remove") {
    const { condition } = call;
    const entry = await map.remove(key, { ...options, ...(condition && { ifVersion: condition }) });
    return { entry: entry && { value: entry.value, version: entry.version } };
  }
  const { value, condition } = call;
  const conditions = condition === "absent" ? { ifAbsent: true } : condition ? { ifVersion: condition } : {};
  return { version: await map.put(key, value, { ...options, ...conditions }) };
}
