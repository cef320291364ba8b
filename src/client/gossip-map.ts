import type { Transport } from "@connectrpc/connect";
import type { Coding } from "./codec.js";
import type { GossipMap, GossipMapOptions } from "./gossip-map/replica-map.js";
import { lazyChunk } from "./lazy.js";

export type { GossipChange, GossipMap, GossipMapOptions } from "./gossip-map/replica-map.js";

/**
 * Opens this member's copy of the gossip map `name`; it has to be closed. Its code is loaded with the first one, so
 * that a page carries it only where it opens one. `GossipMapService.Connect`
 */
export async function openGossipMap<V = unknown>(
  transport: Transport,
  name: string,
  options: GossipMapOptions & Coding<V> = {},
): Promise<GossipMap<V>> {
  const { joinGossipMap } = await lazyChunk();
  return joinGossipMap(transport, name, options);
}
