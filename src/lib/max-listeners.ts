/** The last signal without a limit: calls share theirs, and setting it takes longer than asking for it. */
let last: WeakRef<AbortSignal> | undefined;
let setMaxListeners: ((most: number, target: AbortSignal) => void) | undefined | null = null;

/**
 * Removes the limit of listeners of `signal`, which has one for each open call: Node would warn of a leak at the
 * eleventh. Does nothing in other runtimes, which do not warn.
 */
export function expectManyListeners<S extends AbortSignal | undefined>(signal: S): S {
  if (setMaxListeners === null) {
    const { process } = globalThis as {
      process?: { getBuiltinModule?: (name: string) => Events | undefined };
    };
    setMaxListeners = process?.getBuiltinModule?.("node:events")?.setMaxListeners;
  }
  if (!signal || signal === last?.deref()) return signal;
  setMaxListeners?.(0, signal);
  last = new WeakRef(signal);
  return signal;
}

type Events = { setMaxListeners(most: number, target: AbortSignal): void };
