import { quote } from "../../../lib/quote.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { Components } from "../../config/components.js";
import type { Limits } from "../../config/config.js";
import type { ServiceContext } from "../../context.js";
import type { Engine, Retention } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { keyOf } from "../shared/keyspace.js";

/** The key of the number of logs that clients created. */
const COUNT = keyOf("log");

/**
 * The existing logs, in the engine's keys: all servers on one engine see the same logs, and their number is limited by
 * `limits.logs`. Only a write creates a log. A follower of a missing log waits for its first writer.
 */
export class LogRegistry {
  readonly #engine: Engine;
  readonly #components: Components;
  readonly #limits: Limits;
  /** The logs that are known to exist, with the retention that was last set in the engine. */
  readonly #known = new Map<string, Retention>();

  constructor({ engine, components, limits }: Pick<ServiceContext, "engine" | "components" | "limits">) {
    this.#engine = engine;
    this.#components = components;
    this.#limits = limits;
  }

  /** Creates the log if it does not exist. Fails with `resource_exhausted` if there are too many. */
  async create(name: string): Promise<void> {
    if (!this.#known.has(name)) await this.#register(name);
    await this.#retain(name);
  }

  /** Whether the log exists. */
  async has(name: string): Promise<boolean> {
    if (!this.#known.has(name) && !(await this.#engine.keys.get(keyOf("log", name)))) return false;
    await this.#retain(name);
    return true;
  }

  /** Resolves when the log exists, or when `signal` aborts. */
  async waitFor(name: string, signal: AbortSignal): Promise<void> {
    if (this.#known.has(name)) return this.#retain(name);
    const key = keyOf("log", name);
    const stopWatch = new AbortController();
    try {
      const changes = this.#engine.keys.watch(key, AbortSignal.any([signal, stopWatch.signal]));
      if (await this.has(name)) return;
      for await (const change of changes) {
        if (change.type === "set" && change.entry.key === key) return await this.#retain(name);
      }
    } finally {
      stopWatch.abort();
    }
  }

  async #register(name: string): Promise<void> {
    const { keys } = this.#engine;
    const key = keyOf("log", name);
    const isCounted = name !== "default" && !this.#components.find("logs", name);
    // A conflict means that another writer has created a log, so every further round follows a success.
    while (true) {
      const [present, count] = await keys.getMany([key, COUNT]);
      if (present) return;
      const logs = count ? Number(fromUtf8(count.value)) : 0;
      if (isCounted && logs >= this.#limits.logs) {
        throw exhausted("logs", this.#limits.logs, `log ${quote(name)} would be one more`);
      }
      const entry = { type: "set", key, value: new Uint8Array(), ifVersion: 0n } as const;
      const next = { type: "set", key: COUNT, value: utf8(String(logs + 1)) } as const;
      const writes = isCounted ? [entry, { ...next, ifVersion: count?.version ?? 0n }] : [entry];
      if ("version" in (await keys.commit(writes))) return;
    }
  }

  /** Sets the log's retention in the engine, the first time and after a change of the configuration. */
  async #retain(name: string): Promise<void> {
    const retention = this.#components.find("logs", name) ?? UNLIMITED;
    if (this.#known.get(name) === retention) return;
    await this.#engine.logs.retain(name, retention);
    this.#known.set(name, retention);
  }
}

const UNLIMITED: Retention = {};
