import type { Link } from "../../../gossip/link.js";
import { quote } from "../../../lib/quote.js";
import type { ServiceContext } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { keyPrefix } from "../shared/keyspace.js";
import { GossipHub, type GossipMember } from "./hub.js";

type Target = { namespace: string; name: string };

/** A member's link to a map, by which it can leave. */
export type GossipMembership = { hub: GossipHub; link: Link };

/** The gossip maps of this server. The first member that joins opens a map; it closes after the last has left. */
export class GossipMaps {
  readonly #context: ServiceContext;
  readonly #member: string;
  readonly #hubs = new Map<string, Promise<GossipHub>>();
  /** The prefixes of the existing maps: open maps, and maps with entries in the engine. */
  #known: Promise<Set<string>> | undefined;

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
    const { engine, limits } = this.#context;
    this.#known ??= mapPrefixes(engine.keys);
    // If the engine is unavailable, the next call tries again.
    this.#known.catch(() => {
      this.#known = undefined;
    });
    const known = await this.#known;
    const isNew = !known.has(prefix);
    if (isNew && known.size >= limits.gossipMaps) {
      const why = `there is no room for gossip map ${quote(target.name)}`;
      throw exhausted("gossipMaps", limits.gossipMaps, why);
    }
    known.add(prefix);
    const onClose = (hub: GossipHub) => {
      this.#hubs.delete(prefix);
      if (hub.isEmpty) known.delete(prefix);
    };
    try {
      return await GossipHub.open({ ...this.#context, member: this.#member, target, onClose });
    } catch (error) {
      if (isNew) known.delete(prefix);
      throw error;
    }
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
