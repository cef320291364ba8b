import { Code, ConnectError } from "@connectrpc/connect";

/** The limits of this end for the other one. Exceeding a limit fails the call, or closes the socket. */
export interface TunnelLimits {
  /** The bytes of messages that a stream may have in flight at first; it grows with the round trip. Default: 262144. */
  streamWindow: number;
  /** The most bytes that `streamWindow` may grow to. Default: 4194304. */
  maxStreamWindow: number;
  /** The bytes of messages that all streams together may have in flight. Default: 4194304. */
  connectionWindow: number;
  /** How many calls of the other end are answered at the same time. Default: 1000. */
  calls: number;
  /** The most bytes of a header list. Default: 65536. */
  headerBytes: number;
  /** The most bytes of a message. Default: 67108864. */
  messageBytes: number;
  /** Sends a PING if nothing was received for this long, in milliseconds. Default: 25000. */
  pingMs: number;
  /**
   * Closes the socket if nothing is received for this long after a PING or at first, in milliseconds. Default: 10000.
   */
  pingTimeoutMs: number;
  /** `pingMs` while calls are open or routes are served, in milliseconds. Default: 4000. */
  activePingMs: number;
  /** `pingTimeoutMs` while calls are open or routes are served, and little waits to be sent. Default: 4000. */
  activePingTimeoutMs: number;
  /** The timeout of a PING if the connection is already suspected to be lost, in milliseconds. Default: 2000. */
  probeTimeoutMs: number;
}

export const TUNNEL_LIMITS: Readonly<TunnelLimits> = {
  streamWindow: 256 * 1024,
  maxStreamWindow: 4 * 1024 * 1024,
  connectionWindow: 4 * 1024 * 1024,
  calls: 1000,
  headerBytes: 64 * 1024,
  messageBytes: 64 * 1024 * 1024,
  pingMs: 25_000,
  pingTimeoutMs: 10_000,
  activePingMs: 4000,
  activePingTimeoutMs: 4000,
  probeTimeoutMs: 2000,
};

/** The error for a message of `bytes`, or undefined if it is accepted. */
export type CheckMessage = (bytes: number) => ConnectError | undefined;

/** Refuses messages of more than `max` bytes. */
export const maxMessageBytes =
  (max: number): CheckMessage =>
  (bytes) =>
    bytes > max
      ? new ConnectError(`a message has more than the ${max} bytes that it may have`, Code.ResourceExhausted)
      : undefined;
