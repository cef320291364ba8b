import type { Code } from "@connectrpc/connect";
import type { Stream } from "../flow/stream.js";
import type { HeaderList } from "../wire/frame.js";

/** A call as it came in. */
export interface IncomingCall {
  /** As "/package.Service/Method". */
  readonly path: string;
  /** How long it may take, in milliseconds; undefined: as long as it wants. */
  readonly timeoutMs: number | undefined;
  readonly header: HeaderList;
}

/** A call to be made, by a stream that is on no session yet. */
export interface OutgoingCall extends IncomingCall {
  readonly stream: Stream;
  /** Whether it must not go by a session that has been silent since the last try of the same. */
  readonly needsNewSession?: boolean;
}

/** What takes calls: a session, or what has one now and then. */
export interface Channel {
  begin(call: OutgoingCall): void;
  reset(stream: Stream, code: Code): void;
}
