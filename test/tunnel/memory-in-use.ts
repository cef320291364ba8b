import { collectGarbage } from "../support/gc.js";

/** The bytes of heap and array buffers in use, after garbage collections until the number is stable. */
export async function memoryInUse(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let still = 0; still < 5; still++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    collectGarbage();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    // Array buffers are freed some time after the collection.
    if (heapUsed + arrayBuffers < least - 64 * 1024) still = 0;
    least = Math.min(least, heapUsed + arrayBuffers);
  }
  return least;
}
