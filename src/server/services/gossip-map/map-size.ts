import type { MapValue } from "../../../../gen/atomix/map/map_pb.js";
import { type Replica, sizeOf } from "../../../gossip/replica.js";
import { quote } from "../../../lib/quote.js";
import type { Limits } from "../../config/config.js";
import { exhausted } from "../../errors.js";

/** Fails if the map would exceed a limit with `updates`. A map that already does may only become smaller. */
export function checkMapSize(
  replica: Replica,
  updates: readonly [key: string, value: MapValue][],
  { gossipEntries, gossipBytes }: Pick<Limits, "gossipEntries" | "gossipBytes">,
  name: string,
): void {
  let entries = replica.size;
  let bytes = replica.bytes;
  for (const [key, value] of updates) {
    const present = replica.get(key);
    if (!present) entries++;
    bytes += sizeOf(key, value) - sizeOf(key, present);
  }
  const message = `gossip map ${quote(name)} is full, with ${replica.size} entries`;
  if (entries > Math.max(gossipEntries, replica.size))
    throw exhausted("gossipEntries", gossipEntries, message);
  if (bytes > Math.max(gossipBytes, replica.bytes)) throw exhausted("gossipBytes", gossipBytes, message);
}
