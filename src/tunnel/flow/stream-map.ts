import type { Stream } from "./stream.js";

const INITIAL_BUCKETS = 16;

/**
 * Streams by their ids: a hash table whose buckets are linked lists. A Map would leak: in V8 the old table of a Map
 * points to the new one, so an old table that survives a collection keeps every later stream alive.
 */
export class StreamMap {
  /** Ids ascend, so they spread evenly. The streams of a bucket are linked by `nextInBucket`. */
  #buckets: (Stream | undefined)[] = new Array(INITIAL_BUCKETS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Stream | undefined {
    let stream = this.#buckets[this.#bucketOf(id)];
    while (stream && stream.id !== id) stream = stream.nextInBucket;
    return stream;
  }

  /** Adds a stream that is not in the map. */
  add(stream: Stream): void {
    if (this.#size === this.#buckets.length) this.#grow();
    this.#size++;
    this.#put(stream);
  }

  /** Returns whether the stream was in the map. */
  delete(stream: Stream): boolean {
    const bucket = this.#bucketOf(stream.id);
    let previous: Stream | undefined;
    let current = this.#buckets[bucket];
    while (current && current !== stream) {
      previous = current;
      current = current.nextInBucket;
    }
    if (!current) return false;
    if (previous) previous.nextInBucket = stream.nextInBucket;
    else this.#buckets[bucket] = stream.nextInBucket;
    stream.nextInBucket = undefined;
    this.#size--;
    return true;
  }

  /** A copy of all streams, in the order of their ids. */
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

  /** Halves the id, as those of one end are all odd or all even. `&` takes it modulo 2^32, which is as good. */
  #bucketOf(id: number): number {
    return (id / 2) & (this.#buckets.length - 1);
  }

  #put(stream: Stream): void {
    const bucket = this.#bucketOf(stream.id);
    stream.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = stream;
  }

  #grow(): void {
    const streams = this.all();
    this.#buckets = new Array(this.#buckets.length * 2).fill(undefined);
    for (const stream of streams) this.#put(stream);
  }
}
