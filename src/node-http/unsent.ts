import type { Socket } from "node:net";

/** The field that Node's own socket timeouts read. */
interface WithHandle {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

/** How many bytes written to the socket the kernel has not accepted yet. */
export const unsentBytes = (socket: Socket): number => (socket as WithHandle)._handle?.writeQueueSize ?? 0;
