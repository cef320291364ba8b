import type { Code } from "@connectrpc/connect";
import type { Stream } from "../flow/stream.js";
import type { HeaderList } from "../wire/frame.js";
import type { CheckMessage } from "../wire/limits.js";

/** A received call. */
export interface IncomingCall {
  /** As "/package.Service/Method". */
  readonly path: string;
  /** The timeout in milliseconds; undefined without a deadline. */
  readonly timeoutMs: number | undefined;
  readonly header: HeaderList;
}

/** A call to be made. Its stream is not attached to a session yet. */
export interface OutgoingCall extends IncomingCall {
  readonly stream: Stream;
  /** Whether the call is a retry that must not use a session that was silent since the first try. */
  readonly needsNewSession?: boolean;
}

/** Takes calls: a session, or a connection that reopens its session. */
export interface Channel {
  begin(call: OutgoingCall): void;
  /** Resets the stream of a call at both ends. It gets no more events. */
  reset(stream: Stream, code: Code): void;
}

/** Shared by all calls of a transport. */
export interface CallTarget {
  readonly channel: Channel;
  /** Checks the size of each message of a response. */
  readonly check: CheckMessage;
}
