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

/** Where keys are in the tree. */
const KEYS = "k";

/** Version and time of expiry, in front of the value. */
const HEADER_BYTES = 16;

/** What one entry weighs beside its key and value, for `maxKeyBytes`. */
const ENTRY_OVERHEAD_BYTES = 32;

/** The most entries that are read in one turn of the event loop. */
const AT_ONCE = 256;

/** The keys of the disk engine. Conditions are about what is written; readers see what is durable. */
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
    const before = writes.map(({ key }) => this.#tree.latest(KEYS + key));
    for (const [i, write] of writes.entries()) {
      if (write.ifVersion === undefined) continue;
      const actual = this.#live(write.key, before[i], nowMs);
      if (write.ifVersion === (actual?.version ?? 0n)) continue;
      // What stands in the way is told once it is certain to stay.
      if (this.#tree.isPending(KEYS + write.key)) await this.#tree.write([]);
      return { conflict: write, actual };
    }
    const grown = this.#admit(writes, before);
    const version = this.#tree.nextVersion();
    const ops: WriteOp[] = [];
    const changes: Change[] = [];
    for (const [i, write] of writes.entries()) this.#apply(write, before[i], version, nowMs, ops, changes);
    const applied = () => {
      for (const change of changes) {
        if (change.type === "set") this.#expiries.expect(change.entry);
        this.#changes.publish(change);
      }
    };
    await this.#tree.write(ops, applied, { keys: grown });
    return { version };
  }

  async *list(prefix: string, after?: string): AsyncIterable<Entry> {
    for (let past = after === undefined ? undefined : KEYS + after; ; ) {
      this.#checkOpen();
      const page = await this.#tree.page(KEYS + prefix, past, AT_ONCE);
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

  /** By how many bytes these writes grow what is kept. Fails where that would pass the bound. */
  #admit(writes: readonly Write[], before: readonly (Buffer | undefined)[]): number {
    let grown = 0;
    for (const [i, write] of writes.entries()) {
      if (write.type === "check") continue;
      if (write.type === "set") grown += weight(write.key, write.value.length);
      const was = before[i];
      if (was) grown -= weight(write.key, was.length - HEADER_BYTES);
    }
    if (grown > 0 && this.#tree.usage.keys + grown > this.#maxKeyBytes) {
      throw fullError("maxKeyBytes", this.#maxKeyBytes, "all keys and values of the disk engine together");
    }
    return grown;
  }

  /** Adds to `ops` what `write` does to the tree, and to `changes` what it is to watchers. */
  #apply(
    write: Write,
    before: Buffer | undefined,
    version: bigint,
    nowMs: number,
    ops: WriteOp[],
    changes: Change[],
  ) {
    if (write.type === "check") return;
    const { key } = write;
    const was = before && expiryOf(before);
    const isGone = was !== undefined && was <= nowMs;
    if (before && (isGone || write.type === "delete")) changes.push({ type: "delete", key });
    if (write.type === "delete") {
      if (before) ops.push({ key: KEYS + key, value: undefined });
      if (was !== undefined) ops.push({ key: expiryKey(was, key), value: undefined });
      return;
    }
    const kept = isGone ? undefined : was;
    const { ttlMs } = write;
    const expiresAtMs = ttlMs === "keep" ? kept : ttlMs === undefined ? undefined : expiryTime(nowMs, ttlMs);
    const bytes = encode(write.value, version, expiresAtMs);
    ops.push({ key: KEYS + key, value: bytes });
    if (was !== expiresAtMs) {
      if (was !== undefined) ops.push({ key: expiryKey(was, key), value: undefined });
      if (expiresAtMs !== undefined) {
        ops.push({ key: expiryKey(expiresAtMs, key), value: Buffer.alloc(0) });
      }
    }
    // A copy: what waits for watchers shall not hold on to the memory that many values share.
    const entry: Entry = { key, value: new Uint8Array(valueIn(bytes)), version };
    changes.push({ type: "set", entry: expiresAtMs === undefined ? entry : { ...entry, expiresAtMs } });
  }

  /** Removes what has expired and is still as it was when that time was set. */
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

/** The bytes of all keys of a tree, as `maxKeyBytes` counts them: of a folder of a version that did not. */
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
