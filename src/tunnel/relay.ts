import { Code } from "@connectrpc/connect";
import type { Channel, IncomingCall } from "./call/call.js";
import { statusFromError } from "./call/status-error.js";
import { Stream, type StreamEvents } from "./flow/stream.js";
import type { Session } from "./session.js";
import type { HeaderList } from "./wire/frame.js";

/**
 * Forwards a call from a session to a channel, without decoding it. A message is pulled on one side when the other has
 * room, so that backpressure reaches the sender.
 */
export function relay(
  from: Session,
  to: Channel,
  { path, timeoutMs, header }: IncomingCall,
  stream: Stream,
  settle: () => void,
): void {
  const events: StreamEvents = {
    onHeaders: (header: HeaderList) => from.sendHeaders(stream, header),
    onMessage: (bytes) => forward(bytes, forwarded, stream),
    onEnd: (status) => {
      stream.end(status);
      settle();
    },
    onError: (error) => {
      stream.end(statusFromError(error));
      settle();
    },
    onRefused: (error) => {
      to.reset(forwarded, error.code);
      stream.end(statusFromError(error));
      settle();
    },
  };
  const forwarded = new Stream(events, anySize, false);
  const reset = (code: Code) => {
    to.reset(forwarded, code);
    settle();
  };
  stream.events = {
    onMessage: (bytes) => forward(bytes, stream, forwarded),
    onEnd: ({ code }) => (code === 0 ? forwarded.end() : reset(Code.Canceled)),
    onError: ({ code }) => reset(code === Code.DeadlineExceeded ? code : Code.Canceled),
    onRefused: ({ code }) => reset(code),
  };
  stream.pull();
  forwarded.pull();
  to.begin({ path, timeoutMs, header, stream: forwarded });
}

/** Sends a message of `from` on `to`, and pulls the next when `to` has room. */
function forward(bytes: Uint8Array, from: Stream, to: Stream): void {
  to.send(bytes);
  if (to.isFull) void to.whenDrained().then(() => from.pull());
  else from.pull();
}

/** The two ends enforce their own limits. */
const anySize = () => undefined;
