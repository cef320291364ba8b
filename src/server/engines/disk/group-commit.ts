/** One that waits for its group. */
type Waiting<T> = { item: T; bytes: number; resolve: () => void; reject: (error: unknown) => void };

/** The most bytes of one group; an item that is larger is one of its own. */
const GROUP_BYTES = 4 * 1024 ** 2;

/** How many are many: to prepare what so many write takes about as long as a sync, so it is worth a sync of its own. */
const MANY = 16;

/**
 * Puts what many callers write at the same time into groups, of which one at a time is written and synced: they share
 * a sync, and there is never more than one group of which it is unknown whether it is on the disk.
 */
export class GroupCommit<T> {
  readonly #write: (items: T[]) => Promise<void>;
  readonly #failed: () => void;
  #waiting: Waiting<T>[] = [];
  #running: Promise<void> | undefined;

  /**
   * `write` makes the items durable, all or none. Where it fails, those that wait behind the group fail as well, and
   * `failed` is told before anyone can add more.
   */
  constructor(write: (items: T[]) => Promise<void>, failed: () => void = () => {}) {
    this.#write = write;
    this.#failed = failed;
  }

  /** Resolves when `item`, of about `bytes`, is durable. */
  add(item: T, bytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, bytes, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when everything that was added has been written or has failed. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    for (let group = await this.#gathered(); group.length > 0; group = await this.#following()) {
      try {
        await this.#write(group.map(({ item }) => item));
        for (const { resolve } of group) resolve();
      } catch (error) {
        const behind = this.#waiting;
        this.#waiting = [];
        this.#failed();
        for (const { reject } of [...group, ...behind]) reject(error);
      }
    }
    this.#running = undefined;
  }

  /** Those who came while the last group was synced: at once, so that the next sync goes on while they are answered. */
  async #following(): Promise<Waiting<T>[]> {
    return this.#waiting.length > 0 ? this.#take(this.#waiting.length) : this.#gathered();
  }

  /** Those who call in this turn: half of many, so that one half prepares what is next while the other is synced. */
  async #gathered(): Promise<Waiting<T>[]> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { length } = this.#waiting;
    return this.#take(length < MANY ? length : length / 2);
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
