import type { Environment } from "../../../gossip/environment.js";
import type { Link } from "../../../gossip/link.js";
import { quote } from "../../../lib/quote.js";
import type { ServiceContext } from "../../context.js";
import { exhausted } from "../../errors.js";
import { KeyQuota } from "../shared/key-quota.js";
import { keyOf, keyPrefix } from "../shared/keyspace.js";
import { GossipHub } from "./hub.js";
import type { GossipMember } from "./member.js";
import type { GossipPeers, MapPeers } from "./peers.js";

type Target = { namespace: string; name: string };

/** A member's link to a map, by which it can leave. */
export type GossipMembership = { hub: GossipHub; link: Link };

/** The gossip maps of this server. The first member that joins opens a map; it closes after the last has left. */
export class GossipMaps {
  readonly #context: ServiceContext;
  readonly #environment: Environment;
  readonly #member: string;
  readonly #peers: GossipPeers;
  /** The open maps, by the keys of their records. */
  readonly #hubs = new Map<string, Promise<GossipHub>>();
  /** The maps with entries, on all servers. */
  readonly #records: KeyQuota;

  /** `member` is the id of this server as a member. */
  constructor(context: ServiceContext, environment: Environment, member: string, peers: GossipPeers) {
    this.#context = context;
    this.#environment = environment;
    this.#member = member;
    this.#peers = peers;
    const { engine, limits, closing } = context;
    const limit = { name: "gossipMaps", most: limits.gossipMaps, why: "as many maps have entries" };
    this.#records = new KeyQuota({ keys: engine.keys, prefix: keyPrefix("gossip-maps"), limit, closing });
  }

  /** Links a member to the map. Opens the map if necessary. */
  async join(target: Target, member: GossipMember): Promise<GossipMembership> {
    const record = keyOf("gossip-maps", target.namespace, target.name);
    while (true) {
      let opening = this.#hubs.get(record);
      if (!opening) {
        opening = this.#open(record, target);
        this.#hubs.set(record, opening);
        opening.catch(() => this.#hubs.delete(record));
      }
      const hub = await opening;
      // All other members may have left in the meantime.
      if (!hub.closed) return { hub, link: hub.join(member) };
    }
  }

  async #open(record: string, target: Target): Promise<GossipHub> {
    const onClose = () => void this.#hubs.delete(record);
    let streams: MapPeers | undefined;
    const hub = await GossipHub.open({
      ...this.#context,
      environment: this.#environment,
      member: this.#member,
      target,
      record,
      onClose,
      onMembers: () => streams?.update(),
    });
    streams = this.#peers.streamsOf(hub, target);
    try {
      const existing = await this.#records.existing();
      if (hub.isEmpty) this.#checkRoom(record, target, existing);
      else if (!existing.has(record)) await this.#writeRecord(record);
      return hub;
    } catch (error) {
      hub.close();
      throw error;
    }
  }

  /** Fails if the map, which has no entries, would be one more than there may be. */
  #checkRoom(record: string, target: Target, existing: ReadonlySet<string>): void {
    const { gossipMaps: most } = this.#context.limits;
    const others = new Set([...existing, ...this.#hubs.keys()]);
    others.delete(record);
    if (others.size < most) return;
    throw exhausted("gossipMaps", most, `there is no room for gossip map ${quote(target.name)}`);
  }

  /** Records a map whose entries have none: earlier versions of the server wrote none. */
  async #writeRecord(record: string): Promise<void> {
    await this.#context.engine.keys.commit([{ type: "set", key: record, value: new Uint8Array() }]);
  }
}
