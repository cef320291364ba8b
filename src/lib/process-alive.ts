/** Longer than any process is left with nothing else to do; every runtime's setInterval takes it. */
const NEVER_MS = 2 ** 30;

let holders = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** Keeps a Node process alive, whatever the transport, until the function that it returns is called. Idempotent. */
export function keepProcessAlive(): () => void {
  let isHeld = true;
  if (holders++ === 0) timer = setInterval(() => {}, NEVER_MS);
  return () => {
    if (!isHeld) return;
    isHeld = false;
    if (--holders === 0) clearInterval(timer);
  };
}
