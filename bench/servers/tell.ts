/** Tells the bench where this server is; and how its memory grew, whenever it asks, where that is `watched`. */
export function tell(url: string, { watched = false } = {}): void {
  const grown = watched ? watchMemory() : () => 0;
  process.on("message", () => process.send?.(grown()));
  process.send?.(url);
}

/** From now on: how much more memory this process had at its peak, in bytes. */
export function watchMemory(): () => number {
  const before = process.memoryUsage.rss();
  let peak = before;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  // Not more often: each look costs about as much as sending a piece of a file.
  setInterval(look, 25).unref();
  return () => {
    look();
    return peak - before;
  };
}
