import type { Stream } from "./stream.js";

const FIRST_BUCKETS = 16;

/**
 * Streams by their numbers. A Map would do, if not for V8's collector: a Map's table that is full points to the next one,
 * for iterators, so that an old one, though dead, keeps alive every stream that any table since had in it.
 */
export class StreamMap {
  /** Numbers come in their order, so they spread well. Streams of one bucket follow each other. */
  #buckets: (Stream | undefined)[] = new Array(FIRST_BUCKETS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Stream | undefined {
    let stream = this.#buckets[this.#at(id)];
    while (stream && stream.id !== id) stream = stream.nextInBucket;
    return stream;
  }

  /** Adds one that is not there. */
  add(stream: Stream): void {
    if (this.#size === this.#buckets.length) this.#grow();
    this.#size++;
    this.#put(stream);
  }

  /** Whether it was there. */
  delete(stream: Stream): boolean {
    const at = this.#at(stream.id);
    let before: Stream | undefined;
    let found = this.#buckets[at];
    while (found && found !== stream) {
      before = found;
      found = found.nextInBucket;
    }
    if (!found) return false;
    if (before) before.nextInBucket = stream.nextInBucket;
    else this.#buckets[at] = stream.nextInBucket;
    stream.nextInBucket = undefined;
    this.#size--;
    return true;
  }

  /** All of them by their numbers. They may go meanwhile. */
  all(): Stream[] {
    const streams: Stream[] = [];
    for (const first of this.#buckets) {
      for (let stream = first; stream; stream = stream.nextInBucket) streams.push(stream);
    }
    return streams.sort((one, other) => one.id - other.id);
  }

  clear(): void {
    for (const stream of this.all()) this.delete(stream);
  }

  /** Halves, as the numbers of one end are all odd or all even; a remainder of 2^32 is as good as the number. */
  #at(id: number): number {
    return (id / 2) & (this.#buckets.length - 1);
  }

  #put(stream: Stream): void {
    const at = this.#at(stream.id);
    stream.nextInBucket = this.#buckets[at];
    this.#buckets[at] = stream;
  }

  #grow(): void {
    const streams = this.all();
    this.#buckets = new Array(this.#buckets.length * 2).fill(undefined);
    for (const stream of streams) this.#put(stream);
  }
}
