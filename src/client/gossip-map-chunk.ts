/**
 * The code of gossip maps, which lazy-chunk.ts loads when the first one is opened. It is apart from that, because most
 * pages have no gossip map.
 *
 * @module
 */

import * as lazyChunk from "./lazy-chunk.js";

export { joinGossipMap } from "./gossip-map/replica-map.js";
export { joinPresence } from "./presence/room.js";

/**
 * Bundlers make a file of the code that each combination of chunks shares. As this chunk has all of the other one, there
 * is no further combination, and pages without gossip maps stay as small as they are.
 *
 * @public
 */
export const otherCode: object = lazyChunk;
