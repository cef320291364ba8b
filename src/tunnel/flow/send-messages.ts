import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { encodeMessage } from "../wire/encode.js";
import type { Stream } from "./stream.js";

/**
 * Sends all messages of `input` with backpressure, and leaves the stream open. `beforeEach` runs before each message.
 */
export async function sendMessages<T extends DescMessage>(
  type: T,
  input: AsyncIterable<MessageInitShape<T>>,
  stream: Stream,
  beforeEach?: () => void,
): Promise<void> {
  const source = input[Symbol.asyncIterator]();
  // Returns a source that waits for its next item when the stream ends; one that is exhausted needs no return().
  let isExhausted = false;
  stream.onSendEnd(() => void (isExhausted || source.return?.()?.catch(() => {})));
  for (;;) {
    const step = await source.next();
    if (step.done) isExhausted = true;
    if (step.done || !stream.canSend) return;
    try {
      const message = create(type, step.value);
      beforeEach?.();
      // A message that may be sent again must not share memory with the app.
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
