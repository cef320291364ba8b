import { Code, ConnectError } from "@connectrpc/connect";

/** What one end takes of the other. Passing a limit costs the call, or the socket. */
export interface TunnelLimits {
  /** How many bytes of messages a stream may have under way at first. It grows with the round trip. Default: 262144. */
  streamWindow: number;
  /** How far that may grow. Default: 4194304. */
  maxStreamWindow: number;
  /** The same for all streams together. Default: 4194304. */
  connectionWindow: number;
  /** How many calls of the other end are answered at the same time. Default: 1000. */
  calls: number;
  /** The most bytes of a header block. Default: 65536. */
  headerBytes: number;
  /** The most bytes of a message. Default: 67108864. */
  messageBytes: number;
  /** After how much silence, in milliseconds, the other end is asked whether it is there. Default: 25000. */
  pingMs: number;
  /** How long it may take to answer that, and to say who it is at first, in milliseconds. Default: 10000. */
  pingTimeoutMs: number;
  /** As `silenceMs` while calls are open or something is served. Default: 4000. */
  activePingMs: number;
  /** As `answerMs` while calls are open or something is served, unless much waits to be sent. Default: 4000. */
  activePingTimeoutMs: number;
  /** How long an answer may take where something points to a loss already, in milliseconds. Default: 2000. */
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

/** What stands against a message of so many bytes. */
export type CheckMessage = (bytes: number) => ConnectError | undefined;

/** Refuses messages of more than `most` bytes. */
export const maxMessageBytes =
  (most: number): CheckMessage =>
  (bytes) =>
    bytes > most
      ? new ConnectError(`a message has more than the ${most} bytes that it may have`, Code.ResourceExhausted)
      : undefined;
