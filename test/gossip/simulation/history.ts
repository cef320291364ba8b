import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import { isRemoval, orderOf, writerOf } from "./version.js";

interface Write {
  readonly entry: MapValue;
  /** Whether nobody had it any more when its only holder was lost. */
  isLost: boolean;
}

/** All writes of a run: the model that the copies are compared with at the end. */
export class History {
  readonly #writes = new Map<string, Write[]>();

  get keys(): Iterable<string> {
    return this.#writes.keys();
  }

  add(key: string, entry: MapValue): void {
    const writes = this.#writes.get(key);
    const write = { entry, isLost: false };
    if (writes) writes.push(write);
    else this.#writes.set(key, [write]);
  }

  /** The writes of `key` after `newest`, the newest entry that anybody has, may be lost from now on. */
  lose(key: string, newest: MapValue | undefined): void {
    for (const write of this.#writes.get(key) ?? [])
      if (!newest || orderOf(write.entry, newest) > 0) write.isLost = true;
  }

  /** The write `before` has become `after`, which may be older: even than the same member's writes before it. */
  replace(key: string, before: MapValue, after: MapValue): void {
    for (const write of this.#writes.get(key) ?? []) {
      const { entry } = write;
      const isBetween = orderOf(entry, before) <= 0 && orderOf(entry, after) > 0;
      if (isBetween && writerOf(entry) === writerOf(before)) write.isLost = true;
    }
    this.add(key, after);
  }

  /** The last write of `key` that cannot be lost; undefined if there is none. */
  lastOf(key: string): MapValue | undefined {
    let last: MapValue | undefined;
    for (const { entry, isLost } of this.#writes.get(key) ?? [])
      if (!isLost && (!last || orderOf(entry, last) > 0)) last = entry;
    return last;
  }

  /**
   * Why `actual` is wrong after everything has converged; undefined if it is right. `isEnded` tells whether the
   * lifetime of an entry may have ended.
   */
  faultOf(
    key: string,
    actual: MapValue | undefined,
    isEnded: (entry: MapValue) => boolean,
  ): string | undefined {
    const last = this.lastOf(key);
    const writes = this.#writes.get(key) ?? [];
    if (actual && !writes.some(({ entry }) => orderOf(entry, actual) === 0)) return "nobody wrote it";
    if (actual) return last && orderOf(actual, last) < 0 ? "it is not the last write" : undefined;
    // A removed key, whose tombstone may be collected.
    const isGone = (entry: MapValue) => isRemoval(entry) || isEnded(entry);
    const isRemoved =
      !last || isGone(last) || writes.some(({ entry }) => isGone(entry) && orderOf(entry, last) > 0);
    return isRemoved ? undefined : "the last write was lost";
  }
}

/** The newest entry of each key that one copy has had: it may never go back to an older one. */
export class Observed {
  readonly #newest = new Map<string, MapValue>();

  newestOf(key: string): MapValue | undefined {
    return this.#newest.get(key);
  }

  get keys(): Iterable<string> {
    return this.#newest.keys();
  }

  /** The entry of `key` may be an older one from now on. */
  forget(key: string): void {
    this.#newest.delete(key);
  }

  /** Why the copy must not have `now` at `key`; undefined if it may. `isEnded`: as for History. */
  faultOf(key: string, now: MapValue | undefined, isEnded: (entry: MapValue) => boolean): string | undefined {
    const newest = this.#newest.get(key);
    if (!now) {
      if (newest && !isRemoval(newest) && !isEnded(newest)) return "has lost it";
      return undefined;
    }
    if (newest && orderOf(now, newest) < 0) {
      return isRemoval(newest) ? "has it again after it was removed" : "has gone back to it";
    }
    this.#newest.set(key, now);
    return undefined;
  }
}
