/** The primitives that keep their data in the engine's keys; each has its own room there. */
type Room = "state" | "lock" | "fence" | "sequencer" | "configuration" | "map" | "gossip" | "log" | "app";

/**
 * The engine's key for what `parts` name. NUL ends every part but the last, which alone may hold any character: the
 * guard keeps control characters out of the others, so no two things share a key.
 */
export const keyOf = (room: Room, ...parts: string[]): string => [room, ...parts].join("\0");

/** The prefix of all keys under `parts`. */
export const under = (room: Room, ...parts: string[]): string => `${keyOf(room, ...parts)}\0`;
