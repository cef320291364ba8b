import type { Item } from "./topic-store.js";

/** One of a group's consumers. */
export class Consumer {
  /** What it has been given and not answered. */
  readonly claimed = new Set<Item>();
  left = false;
  readonly #onLeave: () => void;
  #hand: ((item: Item | undefined) => void) | undefined;

  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  /** The next event that hand() gives it; undefined once it has left. */
  handed(): Promise<Item | undefined> {
    return new Promise((resolve) => {
      this.#hand = resolve;
    });
  }

  hand(item: Item): void {
    this.claimed.add(item);
    this.#hand?.(item);
  }

  readonly leave = (): void => {
    if (this.left) return;
    this.left = true;
    this.#onLeave();
    // From here on it answers for nothing.
    this.claimed.clear();
    this.#hand?.(undefined);
  };
}
