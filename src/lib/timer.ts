/** The longest delay that every runtime's setTimeout takes; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** Runs `task` after `delayMs`, of any length. Does not keep a Node process alive. Returns a function that stops it. */
export function runAfter(delayMs: number, task: () => void): () => void {
  return armTimeout(delayMs, task, (timer) => (timer as { unref?: () => void }).unref?.());
}

/** Resolves after `delayMs`, or at once when `signal` aborts. Does not keep a Node process alive. */
export function delay(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const stopTimer = runAfter(delayMs, done);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      stopTimer();
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}

/**
 * A timeout for a delay of any length: one that setTimeout does not accept is split. Returns a function that stops it.
 */
export function armTimeout(
  delayMs: number,
  task: () => void,
  onTimer?: (timer: unknown) => void,
): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = (remainingMs: number) => {
    const stepMs = Math.min(remainingMs, MAX_DELAY_MS);
    timer = setTimeout(() => (remainingMs > stepMs ? wait(remainingMs - stepMs) : task()), stepMs);
    onTimer?.(timer);
  };
  wait(Math.max(0, delayMs));
  return () => clearTimeout(timer);
}
