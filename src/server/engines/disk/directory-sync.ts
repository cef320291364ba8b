import { readdirSync, statSync } from "node:fs";
import type { Files } from "./files.js";

/** How long a folder's time of change may stay the same although it changes again: clocks of file systems tick. */
const TICK_MS = 20;

/**
 * Makes durable that the journals of a LevelDB are there. It syncs what it writes to a journal, but never the folder
 * that it began one in: there are file systems on which the power then takes the whole file.
 */
export class DirectorySync {
  readonly #files: Files;
  readonly #folder: string;
  #durable: ReadonlySet<string> = new Set();
  /** The folder's time of change when the names were read, when that was first seen, and whether it can hide no change. */
  #read: { mtimeNs: bigint; seenMs: number; isSettled: boolean } | undefined;

  constructor(files: Files, folder: string) {
    this.#files = files;
    this.#folder = folder;
  }

  /** Resolves when all journals that there are now are there after a power loss. */
  async keep(): Promise<void> {
    if (!this.#hasChanged()) return;
    const journals = readdirSync(this.#folder).filter((name) => name.endsWith(".log"));
    if (journals.every((name) => this.#durable.has(name))) return;
    await this.#sync(journals);
  }

  /** The same, and for all other names: for when LevelDB has been opened, and has renamed CURRENT. */
  async keepAll(): Promise<void> {
    this.#read = undefined;
    await this.#sync(readdirSync(this.#folder).filter((name) => name.endsWith(".log")));
  }

  async #sync(journals: readonly string[]): Promise<void> {
    await this.#files.syncFolder(this.#folder);
    this.#durable = new Set(journals);
  }

  #hasChanged(): boolean {
    const { mtimeNs } = statSync(this.#folder, { bigint: true });
    const nowMs = performance.now();
    const read = this.#read;
    if (read?.mtimeNs !== mtimeNs) this.#read = { mtimeNs, seenMs: nowMs, isSettled: false };
    else if (read.isSettled) return false;
    else read.isSettled = nowMs - read.seenMs > TICK_MS;
    return true;
  }
}
