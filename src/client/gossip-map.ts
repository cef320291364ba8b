import type { Transport } from "@connectrpc/connect";
import { loadChunk } from "../rpc/lazy.js";
import type { Coding } from "./codec.js";
import type { GossipMap, GossipMapOptions } from "./gossip-map/replica-map.js";

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
  const { joinGossipMap } = await loadChunk(import("./lazy-chunk.js"));
  return joinGossipMap(transport, name, options);
}
