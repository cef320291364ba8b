import type { ConnectError } from "@connectrpc/connect";
import type { IncomingCall, OutgoingCall } from "./call/call.js";
import type { Stream } from "./flow/stream.js";
import type { Settings } from "./wire/frame.js";
import type { CheckMessage, TunnelLimits } from "./wire/limits.js";

/** What is assumed of an end that has not told its settings yet. */
export const DEFAULT_PEER_SETTINGS = {
  streamWindow: 64 * 1024,
  connectionWindow: 256 * 1024,
  calls: 100,
  headerBytes: 16 * 1024,
};

/** The settings of the other end as far as they are known. */
export type PeerSettings = Settings & typeof DEFAULT_PEER_SETTINGS;

export interface SessionOptions {
  /** Whether this end dialled: its streams then have odd numbers. */
  readonly isDialler: boolean;
  readonly limits?: Partial<TunnelLimits> | undefined;
  /** Who this end is, and what its calls carry that carry nothing of their own. */
  readonly identity?: Pick<Settings, "appId" | "authorization" | "offer"> | undefined;
  /** Answers a call: gives the stream its events before it returns, and calls `settle` when nothing works on it any more. */
  readonly answer: (call: IncomingCall, stream: Stream, settle: () => void) => void;
  /** What stands against a message of so many bytes. Default: the limit `messageBytes`. */
  readonly checkMessage?: CheckMessage | undefined;
  /** So many bytes more, or fewer, have come of messages that are not whole yet; what stands against it. Default: nothing. */
  readonly onArriving?: ((change: number, stream: Stream) => ConnectError | undefined) | undefined;
  /** So many bytes more, or fewer, wait of answers that the other end has no room for. Default: nobody counts them. */
  readonly onLeaving?: ((change: number, stream: Stream) => void) | undefined;
  /** The other end has told its settings, at first or again. */
  readonly onSettings?: (settings: PeerSettings) => void;
  /** The other end takes no more calls; those that it did not take are these. */
  readonly onGoaway?: (untaken: OutgoingCall[]) => void;
  /** The other end has answered a probe: it is there. */
  readonly onProbed?: () => void;
  /** Whether any stream is open. */
  readonly onBusy?: (busy: boolean) => void;
  /** The socket is gone, with it all that went by it; only these calls never left. */
  readonly onClosed?: (why: ConnectError, unsent: OutgoingCall[], code: number) => void;
}
