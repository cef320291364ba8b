import type { Change, Commit, Entry, KeyStore, Write } from "../../engine.js";
import { ChangeFeed } from "../shared/change-feed.js";
import { closedError, fullError } from "../shared/errors.js";
import { Expiries, type Expiry, expiryKey, expiryTime } from "./expiries.js";
import type { WriteOp } from "./store.js";
import type { Tree } from "./tree.js";

interface KeyOptions {
  maxKeyBytes: number;
  maxWatchBacklog: number;
}

/** The prefix of keys in the tree. */
const KEYS = "k";

/** The version and the expiry, before the value. */
const HEADER_BYTES = 16;

/** Counts for each entry besides its key and value, for `maxKeyBytes`. */
const ENTRY_OVERHEAD_BYTES = 32;

/** How many entries are read in one page. */
const PAGE_ENTRIES = 256;

/** The keys of the disk engine. Conditions include pending writes; reads see durable writes only. */
export class DiskKeys implements KeyStore {
  readonly #tree: Tree;
  readonly #maxKeyBytes: number;
  readonly #now: () => number;
  readonly #changes: ChangeFeed;
  readonly #expiries: Expiries;
  #closed = false;

  constructor(tree: Tree, { maxKeyBytes, maxWatchBacklog }: KeyOptions) {
    this.#tree = tree;
    this.#maxKeyBytes = maxKeyBytes;
    this.#now = tree.clock.now;
    this.#changes = new ChangeFeed(maxWatchBacklog);
    this.#expiries = new Expiries(tree, this.#now, (due) => this.#expire(due));
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#checkOpen();
    return this.#live(key, this.#tree.get(KEYS + key), this.#now());
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    this.#checkOpen();
    const nowMs = this.#now();
    return keys.map((key) => this.#live(key, this.#tree.get(KEYS + key), nowMs));
  }

  async commit(writes: readonly Write[]): Promise<Commit> {
    this.#checkOpen();
    const nowMs = this.#now();
    const previous = writes.map(({ key }) => this.#tree.latest(KEYS + key));
    for (const [i, write] of writes.entries()) {
      if (write.ifVersion === undefined) continue;
      const actual = this.#live(write.key, previous[i], nowMs);
      if (write.ifVersion === (actual?.version ?? 0n)) continue;
      // Waits until the conflicting write is durable: it might still fail.
      if (this.#tree.isPending(KEYS + write.key)) await this.#tree.write([]);
      return { conflict: write, actual };
    }
    const growth = this.#checkBound(writes, previous);
    const version = this.#tree.nextVersion();
    const ops: WriteOp[] = [];
    const changes: Change[] = [];
    for (const [i, write] of writes.entries()) this.#apply(write, previous[i], version, nowMs, ops, changes);
    const applied = () => {
      for (const change of changes) {
        if (change.type === "set") this.#expiries.add(change.entry);
        this.#changes.publish(change);
      }
    };
    await this.#tree.write(ops, applied, { keys: growth });
    return { version };
  }

  async *list(prefix: string, after?: string): AsyncIterable<Entry> {
    for (let past = after === undefined ? undefined : KEYS + after; ; ) {
      this.#checkOpen();
      const page = await this.#tree.page(KEYS + prefix, past, PAGE_ENTRIES);
      for (const { key, value } of page.entries) {
        const entry = this.#live(key.slice(KEYS.length), value, this.#now());
        if (entry) yield entry;
        this.#checkOpen();
      }
      if (page.after === undefined) return;
      past = page.after;
    }
  }

  watch(prefix: string, signal: AbortSignal): AsyncIterable<Change> {
    this.#checkOpen();
    return this.#changes.watch(prefix, signal);
  }

  close(): void {
    this.#closed = true;
    this.#expiries.close();
    this.#changes.close();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError("disk");
  }

  #live(key: string, bytes: Buffer | undefined, nowMs: number): Entry | undefined {
    if (!bytes) return undefined;
    const expiresAtMs = expiryOf(bytes);
    if (expiresAtMs === undefined) return { key, value: valueIn(bytes), version: bytes.readBigUInt64LE() };
    if (expiresAtMs <= nowMs) return undefined;
    return { key, value: valueIn(bytes), version: bytes.readBigUInt64LE(), expiresAtMs };
  }

  /** By how many bytes these writes change the usage. Fails if that would exceed the bound. */
  #checkBound(writes: readonly Write[], previous: readonly (Buffer | undefined)[]): number {
    let growth = 0;
    for (const [i, write] of writes.entries()) {
      if (write.type === "check") continue;
      if (write.type === "set") growth += weight(write.key, write.value.length);
      const replaced = previous[i];
      if (replaced) growth -= weight(write.key, replaced.length - HEADER_BYTES);
    }
    if (growth > 0 && this.#tree.usage.keys + growth > this.#maxKeyBytes) {
      throw fullError("maxKeyBytes", this.#maxKeyBytes, "all keys and values of the disk engine together");
    }
    return growth;
  }

  /** Adds the writes of the tree to `ops`, and the changes for watchers to `changes`. */
  #apply(
    write: Write,
    previous: Buffer | undefined,
    version: bigint,
    nowMs: number,
    ops: WriteOp[],
    changes: Change[],
  ) {
    if (write.type === "check") return;
    const { key } = write;
    const previousExpiry = previous && expiryOf(previous);
    const isExpired = previousExpiry !== undefined && previousExpiry <= nowMs;
    if (previous && (isExpired || write.type === "delete")) changes.push({ type: "delete", key });
    if (write.type === "delete") {
      if (previous) ops.push({ key: KEYS + key, value: undefined });
      if (previousExpiry !== undefined) ops.push({ key: expiryKey(previousExpiry, key), value: undefined });
      return;
    }
    const kept = isExpired ? undefined : previousExpiry;
    const { ttlMs } = write;
    const expiresAtMs = ttlMs === "keep" ? kept : ttlMs === undefined ? undefined : expiryTime(nowMs, ttlMs);
    const bytes = encode(write.value, version, expiresAtMs);
    ops.push({ key: KEYS + key, value: bytes });
    if (previousExpiry !== expiresAtMs) {
      if (previousExpiry !== undefined) ops.push({ key: expiryKey(previousExpiry, key), value: undefined });
      if (expiresAtMs !== undefined) {
        ops.push({ key: expiryKey(expiresAtMs, key), value: Buffer.alloc(0) });
      }
    }
    // A copy, so that a change that waits for a watcher does not keep a buffer in memory that many values share.
    const entry: Entry = { key, value: new Uint8Array(valueIn(bytes)), version };
    changes.push({ type: "set", entry: expiresAtMs === undefined ? entry : { ...entry, expiresAtMs } });
  }

  /** Removes the due keys, except for those that were written again with another expiry. */
  async #expire(due: Expiry[]): Promise<void> {
    const ops: WriteOp[] = [];
    const gone: string[] = [];
    let freed = 0;
    for (const { atMs, key } of due) {
      ops.push({ key: expiryKey(atMs, key), value: undefined });
      const bytes = this.#tree.latest(KEYS + key);
      if (!bytes || expiryOf(bytes) !== atMs) continue;
      ops.push({ key: KEYS + key, value: undefined });
      gone.push(key);
      freed += weight(key, bytes.length - HEADER_BYTES);
    }
    const applied = () => {
      for (const key of gone) this.#changes.publish({ type: "delete", key });
    };
    await this.#tree.write(ops, applied, { keys: -freed });
  }
}

/** Counts the bytes of all keys of a tree, for a folder of a version that did not store this number. */
export async function keyBytesOf(tree: Tree): Promise<number> {
  let bytes = 0;
  for await (const { key, value } of tree.all(KEYS)) {
    bytes += weight(key.slice(KEYS.length), value.length - HEADER_BYTES);
  }
  return bytes;
}

const weight = (key: string, valueBytes: number): number =>
  Buffer.byteLength(key) + valueBytes + ENTRY_OVERHEAD_BYTES;

function encode(value: Uint8Array, version: bigint, expiresAtMs = 0): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + value.length);
  bytes.writeBigUInt64LE(version, 0);
  bytes.writeDoubleLE(expiresAtMs, 8);
  bytes.set(value, HEADER_BYTES);
  return bytes;
}

const valueIn = ({ buffer, byteOffset, length }: Buffer): Uint8Array =>
  new Uint8Array(buffer, byteOffset + HEADER_BYTES, length - HEADER_BYTES);

function expiryOf(bytes: Buffer): number | undefined {
  const atMs = bytes.readDoubleLE(8);
  return atMs === 0 ? undefined : atMs;
}
