/** An interval that every runtime's setInterval accepts, 12 days. Its callback does nothing. */
const INTERVAL_MS = 2 ** 30;

let holders = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** Keeps a Node process alive until the returned function is called. That function is idempotent. */
export function keepProcessAlive(): () => void {
  let isHeld = true;
  if (holders++ === 0) timer = setInterval(() => {}, INTERVAL_MS);
  return () => {
    if (!isHeld) return;
    isHeld = false;
    if (--holders === 0) clearInterval(timer);
  };
}
