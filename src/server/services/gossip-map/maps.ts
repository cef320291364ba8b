import type { Link } from "../../../gossip/link.js";
import { quote } from "../../../lib/quote.js";
import type { ServiceContext } from "../../context.js";
import type { KeyStore } from "../../engine.js";
import { exhausted } from "../../errors.js";
import { keyPrefix } from "../shared/keyspace.js";
import { GossipHub, type GossipMember } from "./hub.js";

type Target = { namespace: string; name: string };

/** A member's place in a map: to be left again. */
export type GossipMembership = { hub: GossipHub; link: Link };

/** The gossip maps of this server: each is opened by the first who joins it, and closed after the last has left. */
export class GossipMaps {
  readonly #context: ServiceContext;
  readonly #member: string;
  readonly #hubs = new Map<string, Promise<GossipHub>>();
  /** The maps that there are, by the prefix of their keys: open ones, and those that the engine has entries of. */
  #known: Promise<Set<string>> | undefined;

  constructor(context: ServiceContext, member: string) {
    this.#context = context;
    this.#member = member;
  }

  /** Links a member to the map, which is opened where it is not open yet. */
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
      // It may have been left by all others at this very moment.
      if (!hub.closed) return { hub, link: hub.join(member) };
    }
  }

  async #open(prefix: string, target: Target): Promise<GossipHub> {
    const { engine, limits } = this.#context;
    this.#known ??= maps(engine.keys);
    // Not to be tried in vain for ever where the engine was away.
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

/** The prefixes of the maps that the engine has entries of. */
async function maps(keys: KeyStore): Promise<Set<string>> {
  const room = keyPrefix("gossip");
  const found = new Set<string>();
  for (let after = room; ; ) {
    const key = await firstKey(keys, room, after);
    if (key === undefined) return found;
    const [, namespace = "", name = ""] = key.split("\0", 3);
    found.add(keyPrefix("gossip", namespace, name));
    // The first key that the next map could have: names have no control characters.
    after = `${room}${namespace}\0${name}\u0001`;
  }
}

async function firstKey(keys: KeyStore, prefix: string, after: string): Promise<string | undefined> {
  for await (const { key } of keys.list(prefix, after)) return key;
  return undefined;
}
