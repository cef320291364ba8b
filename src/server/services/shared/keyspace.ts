import type { StoredPrimitive } from "../../primitives.js";

/**
 * The first part of every key of the engine. "gossip": the entries of gossip maps; "gossip-maps": the maps that have
 * some; "map-election": the members and leaders of groups of maps, in the electing engine; "app": the apps that connected by a tunnel; "component": changes of components at run time.
 */
type Keyspace =
  | Exclude<StoredPrimitive, "gossipMap">
  | "gossip"
  | "gossip-maps"
  | "fence"
  | "app"
  | "map-election"
  | "component";

/**
 * The engine's key of `parts`. NUL ends every part except the last, which may contain any character. Validation refuses
 * control characters in the others, so that keys are unique.
 */
export const keyOf = (room: Keyspace, ...parts: string[]): string => [room, ...parts].join("\0");

/** The prefix of all keys under `parts`. */
export const keyPrefix = (room: Keyspace, ...parts: string[]): string => `${keyOf(room, ...parts)}\0`;
