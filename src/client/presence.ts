/// <reference lib="esnext.disposable" preserve="true" />
import type { Transport } from "@connectrpc/connect";
import type { Coding } from "./codec.js";
import type { GossipMapOptions, GossipMapStatus } from "./gossip-map.js";
import { lazyChunk } from "./lazy.js";

/** How a presence is opened. Its gossip map is in the namespace "presence" by default. */
export interface PresenceOptions<S extends object> extends Omit<GossipMapOptions, "persist"> {
  /** What the others see of this member at the beginning. Default: {}. */
  state?: S;
}

/** A member that is here. */
export interface PresenceMember<S extends object> {
  /** Its `memberId`. */
  readonly id: string;
  /** What it tells of itself; the same object until it changes. */
  readonly state: S;
  /** Whether it is this member. */
  readonly isSelf: boolean;
}

/** A member came, changed its state, or left; `member` has its last state. */
export type PresenceChange<S extends object> = {
  /** Whether the member has come, has changed its state, or has gone. */
  type: "join" | "update" | "leave";
  /** The member; of one that has gone, as it was last. */
  member: PresenceMember<S>;
};

/**
 * Who is here, with a state for each. A member that closes its presence is gone at once, and one that is lost after
 * about 3 seconds (`gossip.memberGraceMs`), without anything that it has to send; when it is back, so is its state.
 */
export interface Presence<S extends object> extends AsyncDisposable {
  /** The name of the presence. */
  readonly name: string;
  /** The id of this member. */
  readonly memberId: string;
  /** The connection to the server. While it is lost, `members` are those that were here before. */
  readonly status: GossipMapStatus;
  /**
   * The members, this one too, in the order of their ids. The same array until something changes. A state that the codec
   * cannot decode is left out.
   */
  readonly members: readonly PresenceMember<S>[];
  /** The same as `members`, for code that follows any such value. */
  readonly current: readonly PresenceMember<S>[];
  /** Calls `listener` after every change of `members`. Returns a function that ends that. */
  subscribe(listener: () => void): () => void;
  /**
   * Sets these properties of this member's state; the others stay as they are. Throws if the codec or the server's
   * limits do not allow the state, or after close(). `Connect`
   */
  set(state: Partial<S>): void;
  /**
   * The changes from this call on; several changes of a member between two steps of the loop become one. Ends with
   * close(); throws if the server refuses this member for good.
   */
  changes(options?: { signal?: AbortSignal }): AsyncIterableIterator<PresenceChange<S>, undefined, undefined>;
  /** Leaves, so that the others see it at once. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the presence `name`, which must be closed. The code for it is loaded by the first call.
 * `GossipMapService.Connect`
 *
 * @example
 * ```ts
 * import { openPresence } from "fairlead";
 * import { createNodeTransport } from "fairlead/node";
 *
 * const transport = createNodeTransport("http://localhost:34904");
 * const room = await openPresence(transport, "room-7", { state: { name: "Ada", isTyping: false } });
 * room.set({ isTyping: true });
 * console.log(room.members.map(({ state }) => state.name).join()); // Ada
 * await room.close();
 * ```
 */
export async function openPresence<S extends object = Record<string, unknown>>(
  transport: Transport,
  name: string,
  options: PresenceOptions<S> & Coding<S> = {},
): Promise<Presence<S>> {
  return (await lazyChunk()).loadPresence(transport, name, options);
}
