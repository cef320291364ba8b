/** The longest delay that every runtime's setTimeout takes; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** Runs `task` after `delayMs`, however long, without keeping a Node process alive. Returns the way to call it off. */
export function runAfter(delayMs: number, task: () => void): () => void {
  return armTimeout(delayMs, task, (timer) => (timer as { unref?: () => void }).unref?.());
}

/** Resolves after `delayMs`, or at once when `signal` aborts. Does not keep a Node process alive. */
export function delay(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const callOff = runAfter(delayMs, done);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      callOff();
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}

/** A timeout for any delay: one that setTimeout does not take is waited for in parts. */
export function armTimeout(
  delayMs: number,
  task: () => void,
  onTimer?: (timer: unknown) => void,
): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = (leftMs: number) => {
    const stepMs = Math.min(leftMs, MAX_DELAY_MS);
    timer = setTimeout(() => (leftMs > stepMs ? wait(leftMs - stepMs) : task()), stepMs);
    onTimer?.(timer);
  };
  wait(Math.max(0, delayMs));
  return () => clearTimeout(timer);
}
