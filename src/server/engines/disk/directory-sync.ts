import { readdirSync, statSync } from "node:fs";
import type { Files } from "./files.js";

/** The resolution of a folder's modification time: further changes within it are not visible. */
const TICK_MS = 20;

/**
 * Syncs the folder of a LevelDB when it has new journals. LevelDB syncs the content of a journal, but not the folder
 * that the journal is in: on some file systems a power failure then loses the whole file.
 */
export class DirectorySync {
  readonly #files: Files;
  readonly #folder: string;
  #durable: ReadonlySet<string> = new Set();
  /**
   * The folder's modification time at the last read, when that was first seen, and whether it is old enough to show
   * every change.
   */
  #lastRead: { mtimeNs: bigint; seenMs: number; isSettled: boolean } | undefined;

  constructor(files: Files, folder: string) {
    this.#files = files;
    this.#folder = folder;
  }

  /** Resolves when the names of all current journals are durable. */
  async syncNewJournals(): Promise<void> {
    if (!this.#hasChanged()) return;
    const journals = readdirSync(this.#folder).filter((name) => name.endsWith(".log"));
    if (journals.every((name) => this.#durable.has(name))) return;
    await this.#sync(journals);
  }

  /** Resolves when all names in the folder are durable. To be called after LevelDB opened and renamed CURRENT. */
  async syncAll(): Promise<void> {
    this.#lastRead = undefined;
    await this.#sync(readdirSync(this.#folder).filter((name) => name.endsWith(".log")));
  }

  async #sync(journals: readonly string[]): Promise<void> {
    await this.#files.syncFolder(this.#folder);
    this.#durable = new Set(journals);
  }

  #hasChanged(): boolean {
    const { mtimeNs } = statSync(this.#folder, { bigint: true });
    const nowMs = performance.now();
    const read = this.#lastRead;
    if (read?.mtimeNs !== mtimeNs) this.#lastRead = { mtimeNs, seenMs: nowMs, isSettled: false };
    else if (read.isSettled) return false;
    else read.isSettled = nowMs - read.seenMs > TICK_MS;
    return true;
  }
}
