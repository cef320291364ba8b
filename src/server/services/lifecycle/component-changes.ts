import { type Backoff, jitteredMs } from "../../../lib/backoff.js";
import { delay } from "../../../lib/timer.js";
import { fromUtf8, utf8 } from "../../../lib/utf8.js";
import type { ServiceContext } from "../../context.js";
import type { Entry } from "../../engine.js";
import { type ComponentKind, isComponentKind } from "../../primitives.js";
import { keyOf, keyPrefix } from "../shared/keyspace.js";

type Settings = Record<string, unknown>;

/** A change as the engine keeps it. */
interface StoredChange {
  settings: Settings;
  /** The settings that the configuration had, as text. With others the change is ignored: they are newer. */
  replaces: string;
}

const PREFIX = keyPrefix("component");

/** The delays before changes are followed again after the engine has failed. */
const BACKOFF: Backoff = { minMs: 100, maxMs: 5000 };

/**
 * The changes of components at run time. A server that has peers stores them in the engine, and all of them apply them,
 * also those that start later, until the configuration has other settings for the component.
 */
export class ComponentChanges {
  readonly #context: Pick<ServiceContext, "engine" | "components" | "closing" | "log">;
  /** The settings that the configuration had for each changed component, by key. */
  readonly #originals = new Map<string, string>();
  /** The version of the change that is applied, by key. */
  readonly #versions = new Map<string, bigint>();

  constructor(context: Pick<ServiceContext, "engine" | "components" | "closing" | "log">) {
    this.#context = context;
    if (context.engine.peers) void this.#follow();
  }

  /** Replaces the settings of a component. Fails if they are wrong: see Components.replace(). */
  async apply(kind: ComponentKind, name: string, settings: Settings): Promise<void> {
    const { components, engine } = this.#context;
    components.check(kind, name, settings);
    if (!engine.peers) {
      components.replace(kind, name, settings);
      return;
    }
    const key = keyOf("component", kind, name);
    const change: StoredChange = { settings, replaces: this.#originalOf(key, kind, name) };
    const value = utf8(JSON.stringify(change));
    const commit = await engine.keys.commit([{ type: "set", key, value }]);
    if ("version" in commit) this.#applyStored({ key, value, version: commit.version });
  }

  async #follow(): Promise<void> {
    const { closing, log } = this.#context;
    for (let failures = 1; !closing.aborted; failures++) {
      const attempt = new AbortController();
      try {
        await this.#followUntilEnd(AbortSignal.any([closing, attempt.signal]));
      } catch (error) {
        if (!closing.aborted) log.warn({ err: error }, "changes of components cannot be followed");
      } finally {
        attempt.abort();
      }
      await delay(jitteredMs(BACKOFF, failures), closing);
    }
  }

  async #followUntilEnd(signal: AbortSignal): Promise<void> {
    const { keys } = this.#context.engine;
    // Watches before it lists, so that no change in between is missed.
    const changes = keys.watch(PREFIX, signal);
    for await (const entry of keys.list(PREFIX)) this.#applyStored(entry);
    for await (const change of changes) if (change.type === "set") this.#applyStored(change.entry);
  }

  #applyStored({ key, value, version }: Entry): void {
    if (version <= (this.#versions.get(key) ?? 0n)) return;
    this.#versions.set(key, version);
    const [, kind = "", name = ""] = key.split("\0");
    const { components, log } = this.#context;
    // Another server may have components that this one has not.
    if (!isComponentKind(kind) || components.find(kind, name) === undefined) return;
    const { settings, replaces } = JSON.parse(fromUtf8(value)) as StoredChange;
    if (replaces !== this.#originalOf(key, kind, name)) return;
    try {
      components.replace(kind, name, settings);
    } catch (error) {
      log.warn({ kind, name, err: error }, "a change of a component at another server is refused here");
    }
  }

  /** The settings that the component had in the configuration. */
  #originalOf(key: string, kind: ComponentKind, name: string): string {
    let original = this.#originals.get(key);
    if (original === undefined) {
      original = textOf(this.#context.components.get(kind, name));
      this.#originals.set(key, original);
    }
    return original;
  }
}

/** Settings as text that is equal for equal settings: their schema determines the order of the fields. */
const textOf = (settings: unknown): string =>
  JSON.stringify(settings, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
