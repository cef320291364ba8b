import type { StoredPrimitive } from "../../primitives.js";

/** The first part of every key of the engine. Gossip maps have theirs under "gossip"; apps that dial in are kept as well. */
type Room = Exclude<StoredPrimitive, "gossipMap"> | "gossip" | "fence" | "app";

/**
 * The engine's key for what `parts` name. NUL ends every part but the last, which alone may hold any character: the
 * guard keeps control characters out of the others, so no two things share a key.
 */
export const keyOf = (room: Room, ...parts: string[]): string => [room, ...parts].join("\0");

/** The prefix of all keys under `parts`. */
export const under = (room: Room, ...parts: string[]): string => `${keyOf(room, ...parts)}\0`;
