import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
/** Collects garbage now: what is measured afterwards is in use, and not what a lazy collector has left. */
export const collect = runInNewContext("gc") as () => void;

/** Whether everything that `use` marked with `watch` is garbage once it has returned. */
export async function collected(
  use: (watch: <T extends object>(value: T) => T) => Promise<void>,
): Promise<boolean> {
  const watched: WeakRef<object>[] = [];
  await use((value) => {
    watched.push(new WeakRef(value));
    return value;
  });
  const isGone = () => watched.every((value) => value.deref() === undefined);
  for (let tries = 0; tries < 20; tries++) {
    // What was looked at through a WeakRef stays until the end of that turn of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 5));
    collect();
    if (isGone()) return watched.length > 0;
  }
  return false;
}
