/** One consumer of a group. */
export class Consumer<Item> {
  /** The events that were delivered to it and are not settled. */
  readonly claimed = new Set<Item>();
  hasLeft = false;
  readonly #onLeave: () => void;
  #resolveNext: ((item: Item | undefined) => void) | undefined;

  /** Calls `onLeave` once, when the consumer leaves: its claimed events are still in `claimed` then. */
  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  /** The next event that assign() gives it; undefined when it leaves. */
  nextAssigned(): Promise<Item | undefined> {
    return new Promise((resolve) => {
      this.#resolveNext = resolve;
    });
  }

  assign(item: Item): void {
    this.claimed.add(item);
    this.#resolveNext?.(item);
  }

  readonly leave = (): void => {
    if (this.hasLeft) return;
    this.hasLeft = true;
    this.#onLeave();
    // Settling any of its events has no effect from here on.
    this.claimed.clear();
    this.#resolveNext?.(undefined);
  };
}
