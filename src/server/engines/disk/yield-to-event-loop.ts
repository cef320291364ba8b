/** How long work in the background may hold up everything else. */
const SLICE_MS = 2;

/** How many steps go by between two looks at the clock. */
const STEPS = 64;

/** To be awaited at each step of long work, which it lets rest now and then, so that the event loop turns. */
export function createYield(): () => Promise<void> | undefined {
  let left = STEPS;
  let untilMs = performance.now() + SLICE_MS;
  return () => {
    if (--left > 0) return undefined;
    left = STEPS;
    if (performance.now() < untilMs) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        untilMs = performance.now() + SLICE_MS;
        resolve();
      });
    });
  };
}
