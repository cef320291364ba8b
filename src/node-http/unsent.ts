import type { Socket } from "node:net";

/** What Node's own socket timeouts look at. */
interface WithHandle {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

/** How many bytes of what was written to the socket the kernel has not taken yet. */
export const unsentBytes = (socket: Socket): number => (socket as WithHandle)._handle?.writeQueueSize ?? 0;
