/** An item that waits for a group commit. */
type Waiting<T> = { item: T; bytes: number; resolve: () => void; reject: (error: unknown) => void };

/** The most bytes of one group. A larger item is a group of its own. */
const GROUP_BYTES = 4 * 1024 ** 2;

/** To prepare the writes of this many items takes about as long as an fsync: from here on a group is split in two. */
const SPLIT_ABOVE = 16;

/**
 * Group commit: collects the items of concurrent callers into groups, and writes and syncs one group at a time. So they
 * share an fsync, and there is never more than one group of which it is unknown whether it is durable.
 */
export class GroupCommit<T> {
  readonly #write: (items: T[]) => Promise<void>;
  readonly #onFailure: () => void;
  #waiting: Waiting<T>[] = [];
  #running: Promise<void> | undefined;

  /**
   * `write` makes the items durable, all or none. If it fails, all items that wait behind the group fail as well, and
   * `onFailure` is called before anyone can add more.
   */
  constructor(write: (items: T[]) => Promise<void>, onFailure: () => void = () => {}) {
    this.#write = write;
    this.#onFailure = onFailure;
  }

  /** Resolves when `item`, of about `bytes`, is durable. */
  add(item: T, bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, bytes, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when every added item has been written or has failed. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    for (let group = await this.#firstGroup(); group.length > 0; group = await this.#nextGroup()) {
      try {
        await this.#write(group.map(({ item }) => item));
        for (const { resolve } of group) resolve();
      } catch (error) {
        const behind = this.#waiting;
        this.#waiting = [];
        this.#onFailure();
        for (const { reject } of [...group, ...behind]) reject(error);
      }
    }
    this.#running = undefined;
  }

  /** The items that were added during the last sync, without waiting for more: the next sync begins at once. */
  async #nextGroup(): Promise<Waiting<T>[]> {
    return this.#waiting.length > 0 ? this.#take(this.#waiting.length) : this.#firstGroup();
  }

  /**
   * The items that are added in this turn of the event loop. If they are many, only half of them: their callers prepare
   * their next writes while the other half is synced.
   */
  async #firstGroup(): Promise<Waiting<T>[]> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { length } = this.#waiting;
    return this.#take(length < SPLIT_ABOVE ? length : length / 2);
  }

  #take(most: number): Waiting<T>[] {
    let bytes = 0;
    let count = 0;
    for (const { bytes: more } of this.#waiting) {
      bytes += more;
      if (count >= most || (count > 0 && bytes > GROUP_BYTES)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
