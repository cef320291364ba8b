import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
/** Collects garbage now, so that a measurement afterwards counts only memory in use. */
export const collectGarbage = runInNewContext("gc") as () => void;

/** Whether all values that `use` passed to `watch` are garbage after it has returned. */
export async function isCollected(
  use: (watch: <T extends object>(value: T) => T) => Promise<void>,
): Promise<boolean> {
  const watched: WeakRef<object>[] = [];
  await use((value) => {
    watched.push(new WeakRef(value));
    return value;
  });
  const isGone = () => watched.every((value) => value.deref() === undefined);
  for (let tries = 0; tries < 20; tries++) {
    // deref() keeps a value alive until the end of that turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 5));
    collectGarbage();
    if (isGone()) return watched.length > 0;
  }
  return false;
}
