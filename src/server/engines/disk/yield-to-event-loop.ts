/** How long background work may block the event loop. */
const SLICE_MS = 2;

/** The number of steps between two reads of the clock. */
const STEPS = 64;

/** A function to await at each step of long work: it yields to the event loop whenever a slice of time is used up. */
export function createYield(): () => Promise<void> | undefined {
  let remaining = STEPS;
  let sliceEndMs = performance.now() + SLICE_MS;
  return () => {
    if (--remaining > 0) return undefined;
    remaining = STEPS;
    if (performance.now() < sliceEndMs) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        sliceEndMs = performance.now() + SLICE_MS;
        resolve();
      });
    });
  };
}
