import type { ServiceImpl } from "@connectrpc/connect";
import { GossipMapService, type Message } from "../../../gen/atomix/map/map_pb.js";
import { type Environment, processEnvironment } from "../../gossip/environment.js";
import { Multiplexer } from "../../gossip/multiplexer.js";
import { GOSSIP_PEER_HEADER } from "../../rpc/extension-headers.js";
import { keyAccessOf } from "../access/key-access.js";
import type { ServiceContext } from "../context.js";
import { invalid } from "../errors.js";
import { refuseClocksAhead } from "./gossip-map/clock-check.js";
import { GossipMaps, type GossipMembership } from "./gossip-map/maps.js";
import type { GossipMember } from "./gossip-map/member.js";
import { GossipPeers } from "./gossip-map/peers.js";
import { keyPrefix } from "./shared/keyspace.js";

/**
 * The gossip map service. The server is a member of every map, and connects all other members. A stream joins a map by
 * its first message for it, and receives the updates of other streams.
 */
export function gossipMapService(
  context: ServiceContext,
  environment: Environment = processEnvironment,
): ServiceImpl<typeof GossipMapService> {
  const suffix = Math.floor(environment.random() * 2 ** 32).toString(16);
  const member = `${context.appId}-${suffix}`;
  const peers = new GossipPeers(context, environment, member);
  const maps = new GossipMaps(context, environment, member, peers);
  return {
    async *connect(messages, { signal, values, requestHeader }) {
      const joined = new Map<string, GossipMembership>();
      const multiplexer = new Multiplexer(environment, () => {
        for (const { hub, link } of joined.values()) hub.leave(link);
      });
      const leave = () => multiplexer.fail(signal.reason);
      if (signal.aborted) leave();
      signal.addEventListener("abort", leave);
      const peer = peerIn(requestHeader);
      const join: Join = (message, target) => {
        const access = keyAccessOf(values, GossipMapService.method.connect, message);
        const { source } = message;
        const { wake } = multiplexer;
        const fail = (error: unknown) => multiplexer.fail(error);
        // The stream of a server that sees only a part of the keys does not replace the one of this server.
        const server = peer && access ? { id: undefined } : peer;
        return maps.join(target, { source, wake, fail, access, peer: server });
      };
      read(refuseClocksAhead(messages, context, environment), join, multiplexer, joined).then(
        () => multiplexer.finish(),
        (error: unknown) => multiplexer.fail(error),
      );
      try {
        yield* multiplexer.messages();
      } finally {
        signal.removeEventListener("abort", leave);
      }
    },
  };
}

/** The server that has opened the stream; undefined if it is an ordinary member. */
function peerIn(header: Headers): GossipMember["peer"] {
  const id = header.get(GOSSIP_PEER_HEADER);
  if (id === null) return undefined;
  try {
    return { id: decodeURIComponent(id) };
  } catch {
    throw invalid(GOSSIP_PEER_HEADER, id, "must be the id of a server, percent-encoded");
  }
}

/** Links the stream to the map that a message names. */
type Join = (message: Message, target: { namespace: string; name: string }) => Promise<GossipMembership>;

/** Processes the messages one after the other, so that each is compared with the updates of those before it. */
async function read(
  messages: AsyncIterable<Message>,
  join: Join,
  multiplexer: Multiplexer,
  joined: Map<string, GossipMembership>,
): Promise<void> {
  for await (const message of messages) {
    const { namespace = "", name = "" } = message.target ?? {};
    const prefix = keyPrefix("gossip", namespace, name);
    let membership = joined.get(prefix);
    if (!membership) {
      membership = await join(message, { namespace, name });
      if (multiplexer.ended) {
        membership.hub.leave(membership.link);
        return;
      }
      joined.set(prefix, membership);
      multiplexer.add(membership.link);
    }
    const { hub, link } = membership;
    const updates = link.receive(message);
    if (updates.length > 0) await hub.write(updates, link);
    if (multiplexer.ended) return;
  }
}
