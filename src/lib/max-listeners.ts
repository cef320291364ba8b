let setMaxListeners: ((most: number, target: AbortSignal) => void) | undefined | null = null;

/**
 * Tells Node that this signal has a listener for each open call on purpose: it warns of a leak at the eleventh.
 * Other runtimes do not warn.
 */
export function expectManyListeners<S extends AbortSignal | undefined>(signal: S): S {
  if (setMaxListeners === null) {
    const { process } = globalThis as {
      process?: { getBuiltinModule?: (name: string) => Events | undefined };
    };
    setMaxListeners = process?.getBuiltinModule?.("node:events")?.setMaxListeners;
  }
  if (signal) setMaxListeners?.(0, signal);
  return signal;
}

type Events = { setMaxListeners(most: number, target: AbortSignal): void };
