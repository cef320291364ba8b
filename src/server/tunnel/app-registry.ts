import type { Transport } from "@connectrpc/connect";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { Limits } from "../config/config.js";
import type { Engine } from "../engine.js";
import { KeyQuota } from "../services/shared/key-quota.js";
import { keyOf, keyPrefix } from "../services/shared/keyspace.js";

/** A consumer group of a topic, by the names that the engine has for both. */
interface TopicGroup {
  topic: string;
  group: string;
}

/** The prefix of the records of apps in the engine's keys. */
const RECORDS = keyPrefix("app");

/**
 * The apps that have dialled in, and can be called by the sockets that they opened. The engine keeps their names, so
 * that an app that is away differs from one that never was, and the groups with its name stay its own.
 */
export class AppRegistry {
  readonly #engine: Engine;
  readonly #quota: KeyQuota;
  readonly #connected = new Map<string, Transport[]>();

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
   * Adds an app, beside others of its name, and returns a function that removes it. Fails with `resource_exhausted` if
   * too many names are kept, and none of them can be deleted.
   */
  async add(name: string, transport: Transport): Promise<() => void> {
    const key = keyOf("app", name);
    const { keys } = this.#engine;
    if (!(await keys.get(key))) {
      if (await this.#quota.isFull()) await this.#deleteOne();
      await this.#quota.admit(key, () => this.#write(key, []));
    }
    this.#connected.set(name, [...(this.#connected.get(name) ?? []), transport]);
    return () => {
      const others = (this.#connected.get(name) ?? []).filter((each) => each !== transport);
      if (others.length > 0) this.#connected.set(name, others);
      else this.#connected.delete(name);
    };
  }

  /** Stores the groups whose events the app takes: while any of them wait, its name is kept. */
  async setGroups(name: string, groups: readonly TopicGroup[]): Promise<void> {
    await this.#write(keyOf("app", name), groups);
  }

  /** One of the connected apps of that name, each in turn; undefined if there is none. */
  next(name: string): Transport | undefined {
    const [first, ...others] = this.#connected.get(name) ?? [];
    if (first) this.#connected.set(name, [...others, first]);
    return first;
  }

  /** Whether an app of that name is connected, or has been. */
  async has(name: string): Promise<boolean> {
    return this.#connected.has(name) || (await this.#engine.keys.get(keyOf("app", name))) !== undefined;
  }

  /** Deletes the name of one app that is not connected and has no events that wait. */
  async #deleteOne(): Promise<void> {
    const { keys, topics } = this.#engine;
    for await (const { key, value } of keys.list(RECORDS)) {
      if (this.#connected.has(key.slice(RECORDS.length))) continue;
      const groups = JSON.parse(fromUtf8(value)) as TopicGroup[];
      const waiting = await Promise.all(groups.map(({ topic, group }) => topics.hasWaiting(topic, group)));
      if (waiting.includes(true)) continue;
      await keys.commit([{ type: "delete", key }]);
      await this.#quota.forget(key);
      return;
    }
  }

  async #write(key: string, groups: readonly TopicGroup[]): Promise<void> {
    await this.#engine.keys.commit([{ type: "set", key, value: utf8(JSON.stringify(groups)) }]);
  }
}
