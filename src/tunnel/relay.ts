import { Code } from "@connectrpc/connect";
import type { IncomingCall, Line } from "./call/call.js";
import { statusOf } from "./call/status-error.js";
import { Stream } from "./flow/stream.js";
import type { Session } from "./session.js";
import type { HeaderList } from "./wire/frame.js";

/**
 * Hands a call on, as it is: neither end knows that there is one in between. Messages are asked for on one side when
 * the other has room for them, so that a slow end slows the other one down and not the relay.
 */
export function relay(
  from: Session,
  to: Line,
  { path, timeoutMs, header }: IncomingCall,
  stream: Stream,
  settle: () => void,
): void {
  const onward = new Stream(
    {
      headers: (header: HeaderList) => from.sendHeaders(stream, header),
      message: (bytes) => pass(bytes, onward, stream),
      ended: (status) => {
        stream.end(status);
        settle();
      },
      failed: (error) => {
        stream.end(statusOf(error));
        settle();
      },
      refused: (error) => {
        to.giveUp(onward, error.code);
        stream.end(statusOf(error));
        settle();
      },
    },
    anySize,
    false,
  );
  const giveUp = (code: Code) => {
    to.giveUp(onward, code);
    settle();
  };
  stream.events = {
    message: (bytes) => pass(bytes, stream, onward),
    ended: ({ code }) => (code === 0 ? onward.end() : giveUp(Code.Canceled)),
    failed: ({ code }) => giveUp(code === Code.DeadlineExceeded ? code : Code.Canceled),
    refused: ({ code }) => giveUp(code),
  };
  stream.pull();
  onward.pull();
  to.begin({ path, timeoutMs, header, stream: onward });
}

/** Sends on what `from` had, and asks it for more when `to` has room. */
function pass(bytes: Uint8Array, from: Stream, to: Stream): void {
  to.send(bytes);
  if (to.isFull) void to.drained().then(() => from.pull());
  else from.pull();
}

/** The two ends have their own limits. */
const anySize = () => undefined;
