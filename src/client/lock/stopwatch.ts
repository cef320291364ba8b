/**
 * Returns a function that gives the milliseconds since this call, including those in which the machine was suspended.
 * On Linux and macOS the monotonic clock stops then, the wall clock does not, so the larger difference counts. A wall
 * clock that is set back has no effect; one that is set ahead makes the result too large, so a lease ends early.
 */
export function stopwatch(): () => number {
  const startMs = performance.now();
  const startWallMs = Date.now();
  return () => Math.max(performance.now() - startMs, Date.now() - startWallMs);
}
