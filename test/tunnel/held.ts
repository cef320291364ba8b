import { collectGarbage } from "../support/gc.js";

/** Bytes of heap and array buffers that are in use: measured once the collector finds nothing more. */
export async function held(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let still = 0; still < 5; still++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    collectGarbage();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    // What frees array buffers does so in its own time.
    if (heapUsed + arrayBuffers < least - 64 * 1024) still = 0;
    least = Math.min(least, heapUsed + arrayBuffers);
  }
  return least;
}
