import { Queue } from "../../../lib/queue.js";

/** Counts for each item besides its bytes, so that the number of empty items is bounded as well. */
const ITEM_BYTES = 256;

/**
 * Reads `items` ahead of the reader, until `mostBytes` or more wait. It begins at once. Calls `onEnd` when `items` has
 * ended, however slow the reader is. Leaving the loop does not end `items`.
 */
export function readAhead(
  items: AsyncIterable<Uint8Array>,
  mostBytes: number,
  onEnd: () => void,
): AsyncIterable<Uint8Array> {
  const queue = new Queue<Uint8Array>();
  let waitingBytes = 0;
  let onRoom = () => {};
  const fill = async () => {
    for await (const item of items) {
      queue.push(item);
      waitingBytes += item.length + ITEM_BYTES;
      if (waitingBytes < mostBytes) continue;
      await new Promise<void>((resolve) => {
        onRoom = resolve;
      });
    }
    onEnd();
  };
  fill().then(
    () => queue.end(),
    (error) => queue.fail(error),
  );
  return drain();

  async function* drain(): AsyncGenerator<Uint8Array> {
    for await (const item of queue) {
      waitingBytes -= item.length + ITEM_BYTES;
      if (waitingBytes < mostBytes) onRoom();
      yield item;
    }
  }
}
