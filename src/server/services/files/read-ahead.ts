import { Queue } from "../../../lib/queue.js";

/** What an item takes besides its bytes, so that empty ones do not pile up either. */
const ITEM_BYTES = 256;

/**
 * What `items` gives, read before it is asked for until `mostBytes` or more wait: it begins at once, and `onEnd` is
 * called when `items` has ended, however slow the reader is. Leaving the loop does not end `items`.
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
  return taken();

  async function* taken(): AsyncGenerator<Uint8Array> {
    for await (const item of queue) {
      waitingBytes -= item.length + ITEM_BYTES;
      if (waitingBytes < mostBytes) onRoom();
      yield item;
    }
  }
}
