import { Code } from "@connectrpc/connect";
import type { Channel, IncomingCall } from "./call/call.js";
import { statusFromError } from "./call/status-error.js";
import { Stream } from "./flow/stream.js";
import type { Session } from "./session.js";
import type { HeaderList } from "./wire/frame.js";

/**
 * Hands a call on, as it is: neither end knows that there is one in between. Messages are asked for on one side when
 * the other has room for them, so that a slow end slows the other one down and not the relay.
 */
export function relay(
  from: Session,
  to: Channel,
  { path, timeoutMs, header }: IncomingCall,
  stream: Stream,
  settle: () => void,
): void {
  const onward = new Stream(
    {
      onHeaders: (header: HeaderList) => from.sendHeaders(stream, header),
      onMessage: (bytes) => pass(bytes, onward, stream),
      onEnd: (status) => {
        stream.end(status);
        settle();
      },
      onError: (error) => {
        stream.end(statusFromError(error));
        settle();
      },
      onRefused: (error) => {
        to.reset(onward, error.code);
        stream.end(statusFromError(error));
        settle();
      },
    },
    anySize,
    false,
  );
  const giveUp = (code: Code) => {
    to.reset(onward, code);
    settle();
  };
  stream.events = {
    onMessage: (bytes) => pass(bytes, stream, onward),
    onEnd: ({ code }) => (code === 0 ? onward.end() : giveUp(Code.Canceled)),
    onError: ({ code }) => giveUp(code === Code.DeadlineExceeded ? code : Code.Canceled),
    onRefused: ({ code }) => giveUp(code),
  };
  stream.pull();
  onward.pull();
  to.begin({ path, timeoutMs, header, stream: onward });
}

/** Sends on what `from` had, and asks it for more when `to` has room. */
function pass(bytes: Uint8Array, from: Stream, to: Stream): void {
  to.send(bytes);
  if (to.isFull) void to.whenDrained().then(() => from.pull());
  else from.pull();
}

/** The two ends have their own limits. */
const anySize = () => undefined;
