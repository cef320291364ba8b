import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { encodeMessage } from "../wire/encode.js";
import type { Stream } from "./stream.js";

/** Sends all of `input`, no faster than it goes, and leaves the end to be sent. `before`: what comes before each message. */
export async function sendMessages<T extends DescMessage>(
  type: T,
  input: AsyncIterable<MessageInitShape<T>>,
  stream: Stream,
  before?: () => void,
): Promise<void> {
  const source = input[Symbol.asyncIterator]();
  // A source that waits for what nobody will take is told to stop; one that is busy stops when it comes back.
  let isRead = false;
  stream.onSendEnd(() => void (isRead || source.return?.()?.catch(() => {})));
  for (;;) {
    const step = await source.next();
    if (step.done) isRead = true;
    if (step.done || stream.isSendEnded) return;
    try {
      const message = create(type, step.value);
      before?.();
      // What may have to be sent again has to stay as it is.
      if (stream.isAccepted) {
        const { bytes, tail } = encodeMessage(type, message);
        stream.send(bytes, false, tail);
      } else {
        stream.send(toBinary(type, message));
      }
    } catch (error) {
      await source.return?.();
      throw error;
    }
    if (stream.isFull) await stream.whenDrained();
  }
}
