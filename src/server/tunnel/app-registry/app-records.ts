import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { Limits } from "../../config/config.js";
import type { Engine, Entry } from "../../engine.js";
import { KeyQuota } from "../../services/shared/key-quota.js";
import { keyOf, keyPrefix } from "../../services/shared/keyspace.js";

/** A consumer group of a topic, by the names that the engine has for both. */
export interface TopicGroup {
  topic: string;
  group: string;
}

/** The prefix of the records of apps in the engine's keys. */
const RECORDS = keyPrefix("app");

/**
 * The names of the apps that have dialled in, and their groups, in the engine's keys. So an app that is away differs
 * from one that never was, and the groups with its name stay its own.
 */
export class AppRecords {
  readonly #engine: Engine;
  readonly #quota: KeyQuota;

  constructor(engine: Engine, { apps: most }: Pick<Limits, "apps">, closing: AbortSignal) {
    this.#engine = engine;
    const limit = {
      name: "apps",
      most,
      why: "as many apps are connected, or have events that wait for them",
    };
    this.#quota = new KeyQuota({ keys: engine.keys, prefix: RECORDS, limit, closing });
  }

  /**
   * Creates the record of an app that connects, or writes it again: then no other server deletes it that has not seen
   * the app connect. Fails with `resource_exhausted` if there are too many, and none of them can be deleted.
   */
  async create(name: string, isConnected: (other: string) => Promise<boolean>): Promise<void> {
    const { keys, peers } = this.#engine;
    const key = keyOf("app", name);
    for (;;) {
      const present = await keys.get(key);
      if (present && !peers) return;
      if (!present && (await this.#quota.isFull())) await this.#deleteOne(isConnected);
      const value = present?.value ?? encodeGroups([]);
      const write = { type: "set", key, value, ifVersion: present?.version ?? 0n } as const;
      const commit = await (present
        ? keys.commit([write])
        : this.#quota.admit(key, () => keys.commit([write])));
      if ("version" in commit) return;
    }
  }

  /**
   * Stores the groups whose events the app takes. Earlier ones are kept while events wait for them: others of its name
   * may still take them.
   */
  async setGroups(name: string, groups: readonly TopicGroup[]): Promise<void> {
    const { keys } = this.#engine;
    const key = keyOf("app", name);
    for (;;) {
      const present = await keys.get(key);
      const earlier = present ? decodeGroups(present) : [];
      const others = earlier.filter((one) => !groups.some((other) => isSameGroup(one, other)));
      const value = encodeGroups([...groups, ...(await this.#withWaiting(others))]);
      const write = { type: "set", key, value, ifVersion: present?.version ?? 0n } as const;
      if ("version" in (await keys.commit([write]))) return;
    }
  }

  /** Whether there is a record of the app. */
  async has(name: string): Promise<boolean> {
    return (await this.#engine.keys.get(keyOf("app", name))) !== undefined;
  }

  /** Deletes the record of one app that is not connected and has no events that wait. */
  async #deleteOne(isConnected: (name: string) => Promise<boolean>): Promise<void> {
    const { keys } = this.#engine;
    for await (const entry of keys.list(RECORDS)) {
      const { key, version } = entry;
      if (await isConnected(key.slice(RECORDS.length))) continue;
      if ((await this.#withWaiting(decodeGroups(entry))).length > 0) continue;
      const commit = await keys.commit([{ type: "delete", key, ifVersion: version }]);
      if ("conflict" in commit) continue;
      await this.#quota.forget(key);
      return;
    }
  }

  /** Those of `groups` that have events that are not handled. */
  async #withWaiting(groups: readonly TopicGroup[]): Promise<TopicGroup[]> {
    const { topics } = this.#engine;
    const waiting = await Promise.all(groups.map(({ topic, group }) => topics.hasWaiting(topic, group)));
    return groups.filter((_, i) => waiting[i]);
  }
}

const encodeGroups = (groups: readonly TopicGroup[]): Uint8Array => utf8(JSON.stringify(groups));

const decodeGroups = ({ value }: Entry): TopicGroup[] => JSON.parse(fromUtf8(value)) as TopicGroup[];

const isSameGroup = (a: TopicGroup, b: TopicGroup): boolean => a.topic === b.topic && a.group === b.group;
