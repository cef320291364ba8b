import type { Transport } from "@connectrpc/connect";
import { GossipMapService } from "../../../gen/atomix/map/map_pb.js";
import type { Coding } from "../codec.js";
import type { GossipMap, GossipMapOptions } from "../gossip-map.js";
import { lazyChunk } from "../lazy.js";

/** Opens the map of openGossipMap(). Its code is another chunk, since most pages have no gossip map. */
export async function loadGossipMap<V>(
  transport: Transport,
  name: string,
  options: GossipMapOptions & Coding<V>,
): Promise<GossipMap<V>> {
  const { joinGossipMap } = await lazyChunk(() => import("../gossip-map-chunk.js"));
  return joinGossipMap(transport, GossipMapService, name, options);
}
