import type { Transport } from "@connectrpc/connect";
import { fromUtf8, utf8 } from "../../lib/utf8.js";
import type { Limits } from "../config/config.js";
import type { Engine } from "../engine.js";
import { Population } from "../services/shared/key-quota.js";
import { keyOf, under } from "../services/shared/keyspace.js";

/** A consumer group of a topic, as the engine calls both. */
interface TopicGroup {
  topic: string;
  group: string;
}

/** What the record of an app begins with, in the engine's keys. */
const RECORDS = under("app");

/**
 * The apps that have dialled in, and can be called by the sockets they opened. Their names are kept in the engine: an
 * app that has left is told from one that never was, and the groups that are called like it stay its own.
 */
export class DialledApps {
  readonly #engine: Engine;
  readonly #remembered: Population;
  readonly #here = new Map<string, Transport[]>();

  constructor(engine: Engine, { apps: most }: Pick<Limits, "apps">, closing: AbortSignal) {
    this.#engine = engine;
    const limit = {
      name: "apps",
      most,
      what: "as many apps are connected, or have events that wait for them",
    };
    this.#remembered = new Population({ keys: engine.keys, prefix: RECORDS, limit, closing });
  }

  /**
   * Takes an app in, beside others of its name, and returns the way to take it out. Fails with `resource_exhausted`
   * where too many are remembered, and none of them can be forgotten.
   */
  async add(name: string, transport: Transport): Promise<() => void> {
    const key = keyOf("app", name);
    const { keys } = this.#engine;
    if (!(await keys.get(key))) {
      if (await this.#remembered.isFull()) await this.#forgetOne();
      await this.#remembered.admit(key, () => this.#write(key, []));
    }
    this.#here.set(name, [...(this.#here.get(name) ?? []), transport]);
    return () => {
      const left = (this.#here.get(name) ?? []).filter((each) => each !== transport);
      if (left.length > 0) this.#here.set(name, left);
      else this.#here.delete(name);
    };
  }

  /** Notes whose events the app takes: while any of them wait, it is not forgotten. */
  async follows(name: string, groups: readonly TopicGroup[]): Promise<void> {
    await this.#write(keyOf("app", name), groups);
  }

  /** One of the apps of that name, each in turn; undefined if none is here. */
  next(name: string): Transport | undefined {
    const [first, ...others] = this.#here.get(name) ?? [];
    if (first) this.#here.set(name, [...others, first]);
    return first;
  }

  /** Whether an app of that name is here, or is remembered to have been. */
  async knows(name: string): Promise<boolean> {
    return this.#here.has(name) || (await this.#engine.keys.get(keyOf("app", name))) !== undefined;
  }

  /** Forgets an app that is not here and has no events that wait. */
  async #forgetOne(): Promise<void> {
    const { keys, topics } = this.#engine;
    for await (const { key, value } of keys.list(RECORDS)) {
      if (this.#here.has(key.slice(RECORDS.length))) continue;
      const groups = JSON.parse(fromUtf8(value)) as TopicGroup[];
      const waiting = await Promise.all(groups.map(({ topic, group }) => topics.hasWaiting(topic, group)));
      if (waiting.includes(true)) continue;
      await keys.commit([{ type: "delete", key }]);
      await this.#remembered.forget(key);
      return;
    }
  }

  async #write(key: string, groups: readonly TopicGroup[]): Promise<void> {
    await this.#engine.keys.commit([{ type: "set", key, value: utf8(JSON.stringify(groups)) }]);
  }
}
