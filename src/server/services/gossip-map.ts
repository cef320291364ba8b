import type { ServiceImpl } from "@connectrpc/connect";
import type { GossipMapService, Message } from "../../../gen/atomix/map/map_pb.js";
import { Multiplexer } from "../../gossip/multiplexer.js";
import { randomId } from "../../lib/random-id.js";
import type { ServiceContext } from "../context.js";
import { GossipMaps, type GossipMembership } from "./gossip-map/maps.js";
import { keyPrefix } from "./shared/keyspace.js";

/**
 * The gossip map service: the server is a member of every map, and the one that all others meet at. A stream joins a
 * map with its first message for it, is answered on the same stream, and is told what other streams bring.
 */
export function gossipMapService(context: ServiceContext): ServiceImpl<typeof GossipMapService> {
  const maps = new GossipMaps(context, `${context.appId}-${randomId().slice(0, 8)}`);
  return {
    async *connect(messages, { signal }) {
      const joined = new Map<string, GossipMembership>();
      const multiplexer = new Multiplexer(() => {
        for (const { hub, link } of joined.values()) hub.leave(link);
      });
      const leave = () => multiplexer.fail(signal.reason);
      if (signal.aborted) leave();
      signal.addEventListener("abort", leave);
      read(messages, maps, multiplexer, joined).then(
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

/** One message after the other: what a later one compares with includes what an earlier one brought. */
async function read(
  messages: AsyncIterable<Message>,
  maps: GossipMaps,
  multiplexer: Multiplexer,
  joined: Map<string, GossipMembership>,
): Promise<void> {
  for await (const message of messages) {
    const { namespace = "", name = "" } = message.target ?? {};
    const at = keyPrefix("gossip", namespace, name);
    let place = joined.get(at);
    if (!place) {
      place = await maps.join({ namespace, name }, multiplexer);
      if (multiplexer.ended) {
        place.hub.leave(place.link);
        return;
      }
      joined.set(at, place);
      multiplexer.add(place.link);
    }
    const { hub, link } = place;
    const updates = link.receive(message);
    if (updates.length > 0) await hub.write(updates, link);
    if (multiplexer.ended) return;
  }
}
