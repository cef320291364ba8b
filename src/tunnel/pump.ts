import type { Stream } from "./stream.js";

/** Sends all of `input`, no faster than it goes, and leaves the end to be sent. */
export async function pump<T>(
  input: AsyncIterable<T>,
  stream: Stream,
  encode: (message: T) => Uint8Array,
): Promise<void> {
  const source = input[Symbol.asyncIterator]();
  // A source that waits for what nobody will take is told to stop; one that is busy stops when it comes back.
  stream.whenOver(() => void source.return?.()?.catch(() => {}));
  for (;;) {
    const step = await source.next();
    if (step.done || stream.isOver) return;
    try {
      stream.send(encode(step.value));
    } catch (error) {
      await source.return?.();
      throw error;
    }
    if (stream.isFull) await stream.drained();
  }
}
