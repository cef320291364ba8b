import { quote } from "../../../lib/quote.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { Components } from "../../config/components.js";
import type { Limits } from "../../config/config.js";
import type { ServiceContext } from "../../context.js";
import type { Engine, Retention } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { keyOf } from "../shared/keyspace.js";

/** Counts the logs that clients made. */
const COUNT = keyOf("log");

/**
 * Which logs there are, kept in the engine's keys: all servers on one engine see the same ones, and their number stays
 * within `limits.logs`. Only writing makes a log; who reads one that is not there waits for its first writer.
 */
export class LogRegistry {
  readonly #engine: Engine;
  readonly #components: Components;
  readonly #limits: Limits;
  /** The logs that are known to be there, with the retention that the engine was last told. */
  readonly #known = new Map<string, Retention>();

  constructor({ engine, components, limits }: Pick<ServiceContext, "engine" | "components" | "limits">) {
    this.#engine = engine;
    this.#components = components;
    this.#limits = limits;
  }

  /** Brings the log into being unless it is there. Fails with `resource_exhausted` where there are too many. */
  async make(name: string): Promise<void> {
    if (!this.#known.has(name)) await this.#register(name);
    await this.#retain(name);
  }

  /** Whether anyone has written to the log. */
  async has(name: string): Promise<boolean> {
    if (!this.#known.has(name) && !(await this.#engine.keys.get(keyOf("log", name)))) return false;
    await this.#retain(name);
    return true;
  }

  /** Resolves once has() is true, or `signal` has aborted. */
  async made(name: string, signal: AbortSignal): Promise<void> {
    if (this.#known.has(name)) return this.#retain(name);
    const key = keyOf("log", name);
    const found = new AbortController();
    try {
      const changes = this.#engine.keys.watch(key, AbortSignal.any([signal, found.signal]));
      if (await this.has(name)) return;
      for await (const change of changes) {
        if (change.type === "set" && change.entry.key === key) return await this.#retain(name);
      }
    } finally {
      found.abort();
    }
  }

  async #register(name: string): Promise<void> {
    const { keys } = this.#engine;
    const key = keyOf("log", name);
    const counts = name !== "default" && !this.#components.find("logs", name);
    // Another writer can only be in the way by making a log itself, so each further round is someone's success.
    while (true) {
      const [present, count] = await keys.getMany([key, COUNT]);
      if (present) return;
      const made = count ? Number(fromUtf8(count.value)) : 0;
      if (counts && made >= this.#limits.logs) {
        throw exhausted("logs", this.#limits.logs, `log ${quote(name)} would be one more`);
      }
      const entry = { type: "set", key, value: new Uint8Array(), ifVersion: 0n } as const;
      const next = { type: "set", key: COUNT, value: utf8(String(made + 1)) } as const;
      const writes = counts ? [entry, { ...next, ifVersion: count?.version ?? 0n }] : [entry];
      if ("version" in (await keys.commit(writes))) return;
    }
  }

  /** Tells the engine how much of the log to keep: the first time, and when the configuration has changed since. */
  async #retain(name: string): Promise<void> {
    const retention = this.#components.find("logs", name) ?? EVERYTHING;
    if (this.#known.get(name) === retention) return;
    await this.#engine.logs.retain(name, retention);
    this.#known.set(name, retention);
  }
}

const EVERYTHING: Retention = {};
