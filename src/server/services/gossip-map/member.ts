import type { KeyAccess } from "../../access/key-access.js";

/** The stream to a member. */
export interface GossipMember {
  /** The member's id. */
  source: string;
  /** Called when there are more messages to send, or earlier ones. */
  wake: () => void;
  /** Called if the hub fails. */
  fail: (error: unknown) => void;
  /** The keys that the member may read and write. Undefined: all. */
  access: KeyAccess | undefined;
  /** Set if it is another server: its id if it has opened the stream, undefined if this server has. */
  peer?: { readonly id: string | undefined } | undefined;
}
