import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import type { Codec } from "../codec.js";
import { decodeInto } from "../errors/unreadable.js";
import type { GossipChange } from "../gossip-map.js";
import type { Difference } from "./changes.js";

/** A decoded value. If it could not be decoded, reading `value` throws. */
type Decoded<V> = { value: V };

/** The decoded values of one gossip map; each is decoded once, when it is first read. */
export class DecodedValues<V> {
  readonly #map: string;
  readonly #codec: Codec<V>;
  /** By entry, for changes() too, which also read entries that have been replaced. */
  readonly #decoded = new WeakMap<MapValue, Decoded<V>>();
  /** By key, as one lookup by text is several times faster than those of the replica. */
  readonly #current = new Map<string, Decoded<V>>();

  constructor(map: string, codec: Codec<V>) {
    this.#map = map;
    this.#codec = codec;
  }

  /** The value at `key` if it has been read since the last forget(). */
  current(key: string): Decoded<V> | undefined {
    return this.#current.get(key);
  }

  /** The value of `entry`, which is the one at `key` now. */
  read(key: string, entry: MapValue): Decoded<V> {
    const decoded = this.get(key, entry);
    this.#current.set(key, decoded);
    return decoded;
  }

  /** To be called when the entry at `key` has changed. */
  forget(key: string): void {
    this.#current.delete(key);
  }

  get(key: string, entry: MapValue): Decoded<V> {
    let decoded = this.#decoded.get(entry);
    if (!decoded) {
      const origin = { map: this.#map, key };
      decoded = decodeInto({ value: undefined as V }, "value", this.#codec, entry.value, origin);
      this.#decoded.set(entry, decoded);
    }
    return decoded;
  }

  /** Decodes the value of `after`, which is that of `before`, to the same object. */
  share(before: MapValue, after: MapValue): void {
    const decoded = this.#decoded.get(before);
    if (decoded) this.#decoded.set(after, decoded);
  }
}

/** Whether reading the value does not throw. */
export const isReadable = (decoded: Decoded<unknown>): boolean =>
  Object.getOwnPropertyDescriptor(decoded, "value")?.get === undefined;

/** The differences as changes with decoded values. */
export async function* decodedChanges<V>(
  differences: AsyncIterable<Difference>,
  values: DecodedValues<V>,
): AsyncGenerator<GossipChange<V>, void, undefined> {
  for await (const { key, before, after, local } of differences) {
    const earlier = before && values.get(key, before);
    const previous = earlier && isReadable(earlier) ? earlier.value : undefined;
    const current = after && values.get(key, after);
    // The property is copied as it is: a value that cannot be decoded throws only when it is read.
    const value = current && (Object.getOwnPropertyDescriptor(current, "value") as PropertyDescriptor);
    const base = { key, local };
    if (!value) yield { type: "remove", ...base, previous };
    else if (before) {
      yield withValue<V, "update">({ type: "update", ...base, value: undefined, previous }, value);
    } else yield withValue<V, "insert">({ type: "insert", ...base, value: undefined }, value);
  }
}

const withValue = <V, T extends GossipChange<V>["type"]>(change: object, value: PropertyDescriptor) =>
  Object.defineProperty(change, "value", value) as GossipChange<V> & { type: T };
