/**
 * Milliseconds since this call, those included in which the machine was suspended: on Linux and macOS the monotonic
 * clock stands still then, the wall clock does not. A wall clock that is set back changes nothing, one that is set
 * ahead makes it too much: right for what must not be believed for too long.
 */
export function stopwatch(): () => number {
  const startMs = performance.now();
  const startWallMs = Date.now();
  return () => Math.max(performance.now() - startMs, Date.now() - startWallMs);
}
