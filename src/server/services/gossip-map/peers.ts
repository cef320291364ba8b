import type { Environment } from "../../../gossip/environment.js";
import { messageCheck } from "../../calls/validate.js";
import type { ServiceContext } from "../../context.js";
import type { GossipHub } from "./hub.js";
import { GossipPeer } from "./peer.js";
import { PeerStream } from "./peer-stream.js";

/** How long streams stay after the last member and the removal of its ephemeral entries, in milliseconds. */
const LINGER_MS = 1000;

/** The other servers of the list with which this one synchronizes its gossip maps. */
export class GossipPeers {
  readonly #context: ServiceContext;
  readonly #environment: Environment;
  readonly #member: string;
  readonly #check: ReturnType<typeof messageCheck>;
  readonly #peers: readonly GossipPeer[];

  /** `member` is the id of this server as a member. */
  constructor(context: ServiceContext, environment: Environment, member: string) {
    const { gossip, limits, beforeClose } = context;
    this.#context = context;
    this.#environment = environment;
    this.#member = member;
    this.#check = messageCheck(limits);
    this.#peers = gossip.peers.map(
      (peer, i) => new GossipPeer(peer, context, { member, at: `gossip.peers[${i}]` }),
    );
    if (this.#peers.length === 0) return;
    beforeClose(async () => void (await Promise.all(this.#peers.map((peer) => peer.close()))));
  }

  /** The streams of a map. They are opened by update(). */
  streamsOf(hub: GossipHub, target: { namespace: string; name: string }): MapPeers {
    const context = this.#context;
    const environment = this.#environment;
    const check = this.#check;
    const open = (onAnswer: () => void) =>
      this.#peers.map((peer) => new PeerStream({ peer, hub, target, context, environment, check, onAnswer }));
    const lingerMs = context.gossip.memberGraceMs + LINGER_MS;
    return new MapPeers({ hub, member: this.#member, environment, lingerMs, open });
  }
}

interface MapPeersOptions {
  hub: GossipHub;
  /** The id of this server as a member. */
  member: string;
  environment: Environment;
  /** How long the streams stay when the last member has left. */
  lingerMs: number;
  /** The streams to the peers. `onAnswer` is to be called when a peer has answered. */
  open: (onAnswer: () => void) => readonly PeerStream[];
}

/**
 * The streams of one map to the peers. They are open while the map has members here that are not servers: two servers
 * do not keep each other's maps open. If two servers have dialled each other, they use the stream of the lower id.
 */
export class MapPeers {
  readonly #options: MapPeersOptions;
  readonly #streams: readonly PeerStream[];
  /** Whether there are members, or have been a moment ago. */
  #isAttended = false;
  #stopLingering: (() => void) | undefined;

  constructor(options: MapPeersOptions) {
    this.#options = options;
    this.#streams = options.open(() => this.update());
  }

  /** Opens and ends streams. To be called when members have joined or left. */
  update(): void {
    if (this.#streams.length === 0) return;
    let hasMembers = false;
    const dialling = new Set<string>();
    for (const { peer } of this.#options.hub.members) {
      if (!peer) hasMembers = true;
      else if (peer.id !== undefined) dialling.add(peer.id);
    }
    this.#attend(hasMembers);
    for (const stream of this.#streams) {
      stream.want(this.#isAttended && !this.#isRedundant(stream.peer, dialling));
    }
  }

  #attend(hasMembers: boolean): void {
    if (hasMembers) {
      this.#isAttended = true;
      this.#stopLingering?.();
      this.#stopLingering = undefined;
    } else if (this.#isAttended && !this.#stopLingering) {
      const { environment, lingerMs } = this.#options;
      this.#stopLingering = environment.after(lingerMs, () => {
        this.#stopLingering = undefined;
        this.#isAttended = false;
        this.update();
      });
    }
  }

  #isRedundant({ id }: GossipPeer, dialling: ReadonlySet<string>): boolean {
    return id !== undefined && id < this.#options.member && dialling.has(id);
  }
}
