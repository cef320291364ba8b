import type { Transport } from "@connectrpc/connect";
import { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import type { Coding } from "../codec.js";
import type { GossipMap, GossipMapOptions } from "../gossip-map.js";
import { lazyChunk } from "../lazy.js";
import type { Presence, PresenceOptions } from "../presence.js";

/** Opens the map of openGossipMap(). Its code is another chunk, since most pages have no gossip map. */
export async function loadGossipMap<V>(
  transport: Transport,
  name: string,
  options: GossipMapOptions & Coding<V>,
): Promise<GossipMap<V>> {
  const { joinGossipMap } = await lazyChunk(() => import("../gossip-map-chunk.js"));
  return joinGossipMap(transport, GossipMapService, name, options);
}

/** Opens the presence of openPresence(), which is a gossip map. */
export async function loadPresence<S extends object>(
  transport: Transport,
  name: string,
  options: PresenceOptions<S> & Coding<S>,
): Promise<Presence<S>> {
  const { joinPresence } = await lazyChunk(() => import("../gossip-map-chunk.js"));
  return joinPresence(transport, GossipMapService, name, options);
}
