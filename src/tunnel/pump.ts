import type { Stream } from "./stream.js";

/** Sends all of `input`, no faster than it goes, and leaves the end to be sent. */
export async function pump<T>(
  input: AsyncIterable<T>,
  stream: Stream,
  encode: (message: T) => Uint8Array,
): Promise<void> {
  for await (const message of input) {
    if (stream.isOver) return;
    stream.send(encode(message));
    if (stream.isFull) await stream.drained();
  }
}
