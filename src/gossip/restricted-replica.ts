import type { MapValue } from "../../gen/atomix/map/map_pb.js";
import type { Replica } from "./replica.js";

/** What a link needs of a replica: see Replica. */
export type LinkedReplica = Pick<
  Replica,
  | "clock"
  | "environment"
  | "fingerprints"
  | "get"
  | "isOutdated"
  | "keys"
  | "keysIn"
  | "revision"
  | "revisionOf"
  | "size"
>;

/**
 * A replica as a peer sees it that may not read some keys: their entries seem to be missing. It is not compared by
 * hashes, which cover all keys.
 */
export class RestrictedReplica implements LinkedReplica {
  readonly #replica: Replica;
  readonly #mayRead: (key: string) => boolean;

  constructor(replica: Replica, mayRead: (key: string) => boolean) {
    this.#replica = replica;
    this.#mayRead = mayRead;
  }

  get clock(): Replica["clock"] {
    return this.#replica.clock;
  }

  get environment(): Replica["environment"] {
    return this.#replica.environment;
  }

  get fingerprints(): Replica["fingerprints"] {
    return this.#replica.fingerprints;
  }

  get revision(): number {
    return this.#replica.revision;
  }

  /** At least the number of keys that the peer may read. */
  get size(): number {
    return this.#replica.size;
  }

  get(key: string): MapValue | undefined {
    return this.#mayRead(key) ? this.#replica.get(key) : undefined;
  }

  revisionOf(key: string): number {
    return this.#mayRead(key) ? this.#replica.revisionOf(key) : 0;
  }

  isOutdated(...digest: Parameters<Replica["isOutdated"]>): boolean {
    return this.#replica.isOutdated(...digest);
  }

  keys(after?: string, last?: string, limit = Number.POSITIVE_INFINITY): readonly string[] {
    const readable: string[] = [];
    for (const key of this.#replica.keys(after, last)) {
      if (readable.length >= limit) break;
      if (this.#mayRead(key)) readable.push(key);
    }
    return readable;
  }

  *keysIn(...range: Parameters<Replica["keysIn"]>): Generator<string, void, undefined> {
    for (const key of this.#replica.keysIn(...range)) if (this.#mayRead(key)) yield key;
  }
}
