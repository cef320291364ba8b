import { Heap } from "../lib/heap.js";

type Expiry = { key: string; endMs: number };

/** The keys whose entries end by themselves, in the order in which they end. */
export class ExpiryQueue {
  readonly #endsMs = new Map<string, number>();
  /** Also has expiries that were replaced or removed, at most as many as there are others, and a constant. */
  readonly #heap = new Heap<Expiry>((a, b) => a.endMs - b.endMs);

  /** The number of keys. */
  get size(): number {
    return this.#endsMs.size;
  }

  /** When the next entry ends, in Unix milliseconds; Infinity if none does. */
  get nextMs(): number {
    let next = this.#heap.peek();
    while (next && !this.#isCurrent(next)) {
      this.#heap.pop();
      next = this.#heap.peek();
    }
    return next?.endMs ?? Number.POSITIVE_INFINITY;
  }

  /** Adds `key`, or changes when it ends. */
  set(key: string, endMs: number): void {
    this.#endsMs.set(key, endMs);
    this.#heap.push({ key, endMs });
    if (this.#heap.size > 2 * this.#endsMs.size + 64) this.#heap.retain((each) => this.#isCurrent(each));
  }

  delete(key: string): void {
    this.#endsMs.delete(key);
  }

  /** Removes the next key that has ended by `nowMs`, and returns it; undefined if there is none. */
  takeDue(nowMs: number): string | undefined {
    if (this.nextMs > nowMs) return undefined;
    const { key } = this.#heap.pop() as Expiry;
    this.#endsMs.delete(key);
    return key;
  }

  #isCurrent({ key, endMs }: Expiry): boolean {
    return this.#endsMs.get(key) === endMs;
  }
}
