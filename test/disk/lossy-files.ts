import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { type Files, nodeFiles, type OpenFile } from "../../src/server/engines/disk/files.js";

/** A change of a file between two syncs: bytes written at an offset, or a truncation. */
type Pending = { at: number; bytes: Buffer } | { cut: number };

/** A file: its durable content, and the changes that may be durable. */
class Inode {
  sure = Buffer.alloc(0);
  pending: Pending[] = [];

  write(at: number, bytes: Buffer): void {
    const end = at + bytes.length;
    if (end > this.sure.length) this.sure = Buffer.concat([this.sure, Buffer.alloc(end - this.sure.length)]);
    bytes.copy(this.sure, at);
  }

  apply(change: Pending): void {
    if ("cut" in change) this.sure = this.sure.subarray(0, change.cut);
    else this.write(change.at, change.bytes);
  }
}

const SECTOR = 512;

/** The error with which a call to the disk fails; undefined if it succeeds. */
export type Refuse = (call: string, path: string, bytes: number) => Error | undefined;

/**
 * The engine's own files, with a record of what syncs have made durable. lose() makes the folder after a power failure:
 * of the unsynced writes it has any part, torn at any place and in any order.
 */
export class LossyFiles implements Files {
  readonly #root: string;
  /** What is at each path now, and what certainly is there after a power failure. "folder" is a folder. */
  readonly #now = new Map<string, Inode | "folder">();
  readonly #sure = new Map<string, Inode | "folder">();
  /** The durable names in the store's folder. */
  storeNames: ReadonlySet<string> = new Set();
  refuse: Refuse = () => undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** Reads the folder. Its content counts as durable. */
  async adopt(): Promise<void> {
    for (const entry of await readdir(this.#root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      // The store writes its own files.
      if (basename(entry.parentPath) === "tree") continue;
      const inode = new Inode();
      if (entry.isFile()) inode.sure = await readFile(path);
      const what = entry.isFile() ? inode : "folder";
      this.#now.set(path, what);
      this.#sure.set(path, what);
    }
  }

  async open(path: string, flags: "r" | "r+" | "w+"): Promise<OpenFile> {
    this.#pass("open", path, 0);
    const file = await nodeFiles.open(path, flags);
    const known = this.#now.get(path);
    const inode = known instanceof Inode ? known : new Inode();
    if (flags === "w+") inode.pending.push({ cut: 0 });
    this.#now.set(path, inode);
    return {
      fd: file.fd,
      write: async (bytes, position) => {
        const copy = Buffer.from(bytes);
        const error = this.refuse("write", path, copy.length);
        // A full disk writes the part that still fits.
        const taken = error ? copy.subarray(0, copy.length >> 1) : copy;
        inode.pending.push({ at: position, bytes: taken });
        await file.write(taken, position);
        if (error) throw error;
      },
      sync: async () => {
        this.#pass("sync", path, 0);
        const count = inode.pending.length;
        // A slow sync: others continue meanwhile.
        await new Promise((resolve) => setImmediate(resolve));
        for (const change of inode.pending.splice(0, count)) inode.apply(change);
      },
      truncate: async (length) => {
        this.#pass("truncate", path, 0);
        inode.pending.push({ cut: length });
        await file.truncate(length);
      },
      close: () => file.close(),
    };
  }

  async mkdir(path: string): Promise<void> {
    this.#pass("mkdir", path, 0);
    await nodeFiles.mkdir(path);
    for (
      let folder = path;
      folder !== this.#root && folder.startsWith(this.#root);
      folder = dirname(folder)
    ) {
      this.#now.set(folder, "folder");
    }
  }

  readdir(path: string): Promise<string[]> {
    return nodeFiles.readdir(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#pass("rename", to, 0);
    await nodeFiles.rename(from, to);
    const moved = this.#now.get(from);
    this.#now.delete(from);
    if (moved) this.#now.set(to, moved);
  }

  async unlink(path: string): Promise<void> {
    this.#pass("unlink", path, 0);
    await nodeFiles.unlink(path);
    this.#now.delete(path);
  }

  async syncFolder(path: string): Promise<void> {
    this.#pass("syncFolder", path, 0);
    const names = basename(path) === "tree" ? await readdir(path) : undefined;
    await new Promise((resolve) => setImmediate(resolve));
    this.#settle(path);
    if (names) this.storeNames = new Set(names);
  }

  /** Writes to `target` the folder after a power failure at this moment. */
  async lose(target: string, random: () => number): Promise<void> {
    const left = new Map(this.#sure);
    // Each name in a folder may be durable without a sync.
    for (const path of new Set([...this.#now.keys(), ...left.keys()])) {
      const what = this.#now.get(path);
      if (random() < 0.5) continue;
      if (what) left.set(path, what);
      else left.delete(path);
    }
    // All at once: the files are still written to.
    const found = [...left].map(([path, what]) => ({
      path,
      bytes: what === "folder" ? undefined : remains(what, random),
    }));
    await mkdir(target, { recursive: true });
    for (const { path, bytes } of found.sort((a, b) => (a.path < b.path ? -1 : 1))) {
      const parent = dirname(path);
      if (parent !== this.#root && left.get(parent) !== "folder") continue;
      const place = join(target, relative(this.#root, path));
      if (bytes) await writeFile(place, bytes);
      else await mkdir(place, { recursive: true });
    }
  }

  #pass(call: string, path: string, bytes: number): void {
    const error = this.refuse(call, path, bytes);
    if (error) throw error;
  }

  #settle(folder: string): void {
    for (const path of [...this.#sure.keys()]) {
      if (dirname(path) === folder && !this.#now.has(path)) this.#sure.delete(path);
    }
    for (const [path, what] of this.#now) if (dirname(path) === folder) this.#sure.set(path, what);
  }
}

/** A file after a power failure: its synced content, and some of the other changes. */
function remains({ sure, pending }: Inode, random: () => number): Buffer {
  const file = new Inode();
  file.sure = Buffer.from(sure);
  for (const change of pending) {
    const luck = random();
    if (luck < 0.4) continue;
    if ("cut" in change || luck < 0.7) {
      file.apply("cut" in change ? change : { at: change.at, bytes: change.bytes });
      continue;
    }
    // Some of its sectors, in any order.
    for (let at = 0; at < change.bytes.length; ) {
      const end = Math.min(change.bytes.length, at + SECTOR - ((change.at + at) % SECTOR));
      if (random() < 0.5) file.write(change.at + at, change.bytes.subarray(at, end));
      at = end;
    }
  }
  return file.sure;
}

/** Random numbers from 0 up to 1, the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const systemError = (code: string): Error => Object.assign(new Error(`${code}: refused`), { code });
