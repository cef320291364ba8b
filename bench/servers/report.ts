/** Sends the URL of this server to the benchmark. If `watched`, also sends the growth of its memory on request. */
export function tell(url: string, { watched = false } = {}): void {
  const grown = watched ? watchMemory() : () => 0;
  process.on("message", () => process.send?.(grown()));
  process.send?.(url);
}

/** Samples the memory from now on. Returns the growth to the peak, in bytes. */
export function watchMemory(): () => number {
  const before = process.memoryUsage.rss();
  let peak = before;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  // Not more often: a sample costs about as much as sending a chunk of a file.
  setInterval(look, 25).unref();
  return () => {
    look();
    return peak - before;
  };
}
