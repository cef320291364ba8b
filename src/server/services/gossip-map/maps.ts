import type { Link } from "../../../gossip/link.js";
import { quote } from "../../../lib/quote.js";
import type { ServiceContext } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { keyPrefix } from "../shared/keyspace.js";
import { GossipHub, type GossipMember } from "./hub.js";

/** How old the list of the maps may be if there is room for a new one, and if there is none, in milliseconds. */
const LISTED_MS = 2000;
const RECHECK_MS = 500;

type Target = { namespace: string; name: string };

/** A member's link to a map, by which it can leave. */
export type GossipMembership = { hub: GossipHub; link: Link };

/** The gossip maps of this server. The first member that joins opens a map; it closes after the last has left. */
export class GossipMaps {
  readonly #context: ServiceContext;
  readonly #member: string;
  readonly #hubs = new Map<string, Promise<GossipHub>>();
  /** The prefixes of the maps with entries in the engine, and when they were listed. */
  #listed: { prefixes: Promise<Set<string>>; atMs: number } | undefined;

  constructor(context: ServiceContext, member: string) {
    this.#context = context;
    this.#member = member;
  }

  /** Links a member to the map. Opens the map if necessary. */
  async join(target: Target, member: GossipMember): Promise<GossipMembership> {
    const prefix = keyPrefix("gossip", target.namespace, target.name);
    while (true) {
      let opening = this.#hubs.get(prefix);
      if (!opening) {
        opening = this.#open(prefix, target);
        this.#hubs.set(prefix, opening);
        opening.catch(() => this.#hubs.delete(prefix));
      }
      const hub = await opening;
      // All other members may have left in the meantime.
      if (!hub.closed) return { hub, link: hub.join(member) };
    }
  }

  async #open(prefix: string, target: Target): Promise<GossipHub> {
    await this.#checkRoom(prefix, target);
    const onClose = async (hub: GossipHub) => {
      this.#hubs.delete(prefix);
      if (hub.isEmpty) (await this.#listed?.prefixes)?.delete(prefix);
    };
    return GossipHub.open({ ...this.#context, member: this.#member, target, onClose });
  }

  /** Fails if the map would be one more than there may be. */
  async #checkRoom(prefix: string, target: Target): Promise<void> {
    const { gossipMaps: most } = this.#context.limits;
    // Other servers create maps too, and empty them.
    for (const ageMs of [LISTED_MS, RECHECK_MS]) {
      const listed = await this.#list(ageMs);
      if (listed.has(prefix)) return;
      const existing = new Set([...listed, ...this.#hubs.keys()]);
      existing.delete(prefix);
      if (existing.size < most) return;
    }
    throw exhausted("gossipMaps", most, `there is no room for gossip map ${quote(target.name)}`);
  }

  /** The maps with entries in the engine, listed at most `ageMs` ago. */
  #list(ageMs: number): Promise<Set<string>> {
    const nowMs = performance.now();
    if (this.#listed && nowMs - this.#listed.atMs <= ageMs) return this.#listed.prefixes;
    const listed = { prefixes: mapPrefixes(this.#context.engine.keys), atMs: nowMs };
    this.#listed = listed;
    // If the engine is unavailable, the next call tries again.
    listed.prefixes.catch(() => {
      if (this.#listed === listed) this.#listed = undefined;
    });
    return listed.prefixes;
  }
}

/** The prefixes of the maps with entries in the engine. */
async function mapPrefixes(keys: KeyStore): Promise<Set<string>> {
  const root = keyPrefix("gossip");
  const prefixes = new Set<string>();
  for (let after = root; ; ) {
    const key = await firstKey(keys, root, after);
    if (key === undefined) return prefixes;
    const [, namespace = "", name = ""] = key.split("\0", 3);
    prefixes.add(keyPrefix("gossip", namespace, name));
    // Sorts after all keys of this map and before those of the next one, as names have no control characters.
    after = `${root}${namespace}\0${name}\u0001`;
  }
}

async function firstKey(keys: KeyStore, prefix: string, after: string): Promise<string | undefined> {
  for await (const { key } of keys.list(prefix, after)) return key;
  return undefined;
}
