type Events = { setMaxListeners(most: number, target: AbortSignal): void };

let events: Events | undefined | null = null;

/** Set on a signal without a limit: calls share theirs, and setting it takes longer than asking for it. */
const isUnlimited = /* @__PURE__ */ Symbol();

/**
 * Removes the limit of listeners of `signal`, which has one for each open call: Node would warn of a leak at the
 * eleventh. Does nothing in other runtimes, which do not warn.
 */
export function expectManyListeners<S extends (AbortSignal & { [isUnlimited]?: boolean }) | undefined>(
  signal: S,
): S {
  if (!signal || signal[isUnlimited]) return signal;
  if (events === null) {
    const { process } = globalThis as {
      process?: { getBuiltinModule?: (name: string) => Events | undefined };
    };
    events = process?.getBuiltinModule?.("node:events");
  }
  events?.setMaxListeners(0, signal);
  signal[isUnlimited] = true;
  return signal;
}
