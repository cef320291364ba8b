// Counts what a call should not need. Imported first, so that every module sees the counting ones.

/** How often each was created, and where the first of each was since the last reset. */
export interface Allocations {
  AbortController: number;
  DOMException: number;
  timers: number;
  stacks: string[];
}

const none = (): Allocations => ({ AbortController: 0, DOMException: 0, timers: 0, stacks: [] });
let counts = none();

function count(what: "AbortController" | "DOMException" | "timers"): void {
  if (counts[what]++ < 3)
    counts.stacks.push(`${what}: ${new Error().stack?.split("\n").slice(3, 9).join("\n")}`);
}

const { AbortController, AbortSignal, DOMException, setTimeout, setInterval } = globalThis;

class CountedController extends AbortController {
  constructor() {
    super();
    count("AbortController");
  }

  override abort(reason?: unknown): void {
    // Node makes one for it.
    if (reason === undefined) count("DOMException");
    super.abort(reason);
  }
}

globalThis.AbortController = CountedController;
globalThis.DOMException = class extends DOMException {
  constructor(...args: ConstructorParameters<typeof DOMException>) {
    super(...args);
    count("DOMException");
  }
} as typeof DOMException;
for (const name of ["abort", "timeout", "any"] as const) {
  const original = AbortSignal[name] as (...args: unknown[]) => AbortSignal;
  AbortSignal[name] = ((...args: unknown[]) => {
    count("AbortController");
    return original.apply(AbortSignal, args);
  }) as never;
}
globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
  count("timers");
  return setTimeout(...args);
}) as typeof setTimeout;
globalThis.setInterval = ((...args: Parameters<typeof setInterval>) => {
  count("timers");
  return setInterval(...args);
}) as typeof setInterval;

/** The counts since the last call of this. */
export function takeCounts(): Allocations {
  const taken = counts;
  counts = none();
  return taken;
}
