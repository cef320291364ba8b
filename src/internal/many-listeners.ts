/**
 * Tells Node that this signal has a listener for each open call on purpose: it warns of a leak at the eleventh.
 * Other runtimes do not warn.
 */
export function expectManyListeners(signal: AbortSignal): AbortSignal {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => Events | undefined } };
  process?.getBuiltinModule?.("node:events")?.setMaxListeners(0, signal);
  return signal;
}

type Events = { setMaxListeners(most: number, target: AbortSignal): void };
