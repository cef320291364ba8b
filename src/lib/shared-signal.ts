/** The property of a shared signal with its tasks. */
export const tasksOf: unique symbol = /* @__PURE__ */ Symbol();

/** A signal that may be that of a SharedController. */
export interface SharedSignal extends AbortSignal {
  readonly [tasksOf]?: SharedController;
}

/**
 * A controller whose signal many calls share. onAbort() adds its tasks here: to add a listener to an AbortSignal takes
 * longer than the rest of a call through a tunnel, and to remove one, Node goes through all of them.
 */
export class SharedController extends AbortController {
  // Not a Set, which would keep dead tasks in memory: in V8 its old table points to the next one.
  readonly #entries: { readonly task: () => void; index: number }[] = [];

  constructor() {
    super();
    Object.assign(this.signal, { [tasksOf]: this });
  }

  /** Adds a task to run after the signal has aborted, in any order. Returns a function that removes it. */
  add(task: () => void): () => void {
    const entries = this.#entries;
    const entry = { task, index: entries.length };
    entries.push(entry);
    return () => {
      if (entries[entry.index] !== entry) return;
      // The last entry takes its place.
      const last = entries.at(-1) as typeof entry;
      last.index = entry.index;
      entries[entry.index] = last;
      entries.pop();
    };
  }

  override abort(reason?: unknown): void {
    super.abort(reason);
    for (const { task } of this.#entries.splice(0)) task();
  }
}
