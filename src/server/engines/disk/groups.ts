/** One that waits for its group. */
type Waiting<T> = { item: T; bytes: number; resolve: () => void; reject: (error: unknown) => void };

/** The most bytes of one group; an item that is larger is one of its own. */
const GROUP_BYTES = 4 * 1024 ** 2;

/**
 * Puts what many callers write at the same time into groups, of which one at a time is written and synced: they share
 * a sync, and there is never more than one group of which it is unknown whether it is on the disk.
 */
export class Groups<T> {
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
    while (this.#waiting.length > 0) {
      // Whoever calls in the same turn joins the group.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const group = this.#next();
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

  #next(): Waiting<T>[] {
    let bytes = 0;
    let count = 0;
    for (const { bytes: more } of this.#waiting) {
      bytes += more;
      if (count > 0 && bytes > GROUP_BYTES) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
