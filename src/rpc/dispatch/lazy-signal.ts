/** An object that creates its signal when it is read. */
interface SignalOwner {
  readonly signal: AbortSignal;
  /** Why the signal has aborted, or will if it is created; undefined: it has not. */
  readonly abortReason?: unknown;
}

const owner = Symbol();

/**
 * One getter for all objects, also for copies that are made of it: a getter of its own would give each object a hidden
 * class, which would keep it in memory.
 */
const LAZY_SIGNAL = {
  enumerable: true,
  configurable: true,
  get(this: { [owner]: SignalOwner }) {
    return this[owner].signal;
  },
};

/** `object` with the signal of `signalOwner`, which is created when it is read: few calls need one, and none is cheap. */
export function withLazySignal<T extends object>(
  object: T & { [owner]?: SignalOwner },
  signalOwner: SignalOwner,
): T & SignalOwner {
  object[owner] = signalOwner;
  return Object.defineProperty(object, "signal", LAZY_SIGNAL) as never;
}

/** Whether the signal is still that of withLazySignal(): a copy of the object has the signal itself. */
export const hasLazySignal = (object: object): boolean =>
  Object.getOwnPropertyDescriptor(object, "signal")?.get === LAZY_SIGNAL.get;

/** Why the signal of `object` has aborted; undefined: it has not. Creates no signal. */
export function abortReasonOf(object: SignalOwner & { readonly [owner]?: SignalOwner }): unknown {
  if (hasLazySignal(object)) return object[owner]?.abortReason;
  return object.signal.aborted ? object.signal.reason : undefined;
}

/** A copy of `request` with another message. Unlike a spread, it does not create the signal. */
export function withMessage<R extends { readonly signal: AbortSignal; readonly message: unknown }>(
  request: R & { readonly [owner]?: SignalOwner },
  message: R["message"],
): R {
  const signalOwner = hasLazySignal(request) ? request[owner] : undefined;
  if (!signalOwner) return { ...request, message };
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(request)) if (name !== "signal") copy[name] = request[name as keyof R];
  copy["message"] = message;
  return withLazySignal(copy, signalOwner) as never;
}
