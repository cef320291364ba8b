import type { ConnectError } from "@connectrpc/connect";
import type { IncomingCall, OutgoingCall } from "../call/call.js";
import type { Stream } from "../flow/stream.js";
import type { Settings } from "../wire/frame.js";
import type { CheckMessage, TunnelLimits } from "../wire/limits.js";
import type { PeerSettings } from "./peer.js";

/**
 * Answers a call. It must set the events of the stream before it returns, and call `settle` when nothing works on the
 * call any more.
 */
export type AnswerCall = (call: IncomingCall, stream: Stream, settle: () => void) => void;

export interface SessionOptions {
  /** Whether this end opened the socket: its streams then have odd ids. */
  readonly isDialler: boolean;
  readonly limits?: Partial<TunnelLimits> | undefined;
  /** The settings that say who this end is. */
  readonly identity?: Pick<Settings, "appId" | "authorization" | "offer"> | undefined;
  readonly answer: AnswerCall;
  /** Checks the size of each message. Default: the limit `messageBytes`. */
  readonly checkMessage?: CheckMessage | undefined;
  /**
   * The received bytes of incomplete messages of a remote stream change by `change`. Returns the error if they are too
   * many. Default: they are not counted.
   */
  readonly onArriving?: ((change: number, stream: Stream) => ConnectError | undefined) | undefined;
  /** The bytes that wait to be sent on a remote stream change by `change`. Default: they are not counted. */
  readonly onLeaving?: ((change: number, stream: Stream) => void) | undefined;
  /** SETTINGS were received, the first or later ones. */
  readonly onSettings?: (settings: PeerSettings) => void;
  /** GOAWAY was received. `unaccepted` are the calls that the other end did not accept. */
  readonly onGoaway?: (unaccepted: OutgoingCall[]) => void;
  /** Something was received after probe(): the other end is there. */
  readonly onProbed?: () => void;
  /** The session became busy (a call is open or worked on, in either direction) or idle. */
  readonly onBusy?: (isBusy: boolean) => void;
  /** The socket is closed. All calls have failed but the `unsent` ones, of which nothing was sent. */
  readonly onClosed?: (error: ConnectError, unsent: OutgoingCall[], code: number) => void;
}
