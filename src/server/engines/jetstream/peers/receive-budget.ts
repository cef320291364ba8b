/** Bytes that are wanted, and what to do when there is room for them. */
type Claim = { bytes: number; onRoom: () => void };

/** Bounds the bytes of the bodies that arrive at the same time. Claims are granted in order, and one always is. */
export class ReceiveBudget {
  readonly #most: number;
  readonly #waiting = new Set<Claim>();
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Calls `onRoom` when there is room for `bytes`. Returns the function that gives them back, also before that. */
  take(bytes: number, onRoom: () => void): () => void {
    const claim = { bytes, onRoom };
    let isGivenBack = false;
    this.#waiting.add(claim);
    this.#grant();
    return () => {
      if (isGivenBack) return;
      isGivenBack = true;
      if (!this.#waiting.delete(claim)) this.#taken -= bytes;
      this.#grant();
    };
  }

  #grant(): void {
    for (const claim of this.#waiting) {
      if (this.#taken > 0 && this.#taken + claim.bytes > this.#most) return;
      this.#waiting.delete(claim);
      this.#taken += claim.bytes;
      claim.onRoom();
    }
  }
}
