import type { TabPlatform } from "./tab-channel.js";

export interface TabLockOptions {
  name: string;
  /** Called when this tab gets the lock. */
  onAcquired: () => void;
  /** Called when another tab has stolen it. */
  onLost: () => void;
}

/** An exclusive Web Lock. The browser releases it when the tab ends, however it ends. */
export class TabLock {
  readonly #locks: TabPlatform["locks"];
  readonly #options: TabLockOptions;
  #waiting: AbortController | undefined;
  #release: (() => void) | undefined;
  #isClosed = false;

  constructor(locks: TabPlatform["locks"], options: TabLockOptions) {
    this.#locks = locks;
    this.#options = options;
  }

  /** Whether the lock is free; it is then this tab's. */
  tryAcquire(): Promise<boolean> {
    return this.#request({ ifAvailable: true });
  }

  /** Acquires the lock when it is free. */
  wait(): void {
    this.#waiting = new AbortController();
    void this.#request({ signal: this.#waiting.signal });
  }

  /** Takes the lock from the tab that has it. */
  steal(): void {
    this.#waiting?.abort();
    void this.#request({ steal: true });
  }

  /** Releases the lock, or gives up waiting for it. wait() may follow. */
  release(): void {
    this.#waiting?.abort();
    this.#release?.();
    this.#release = undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.release();
  }

  async #request(options: LockOptions): Promise<boolean> {
    return new Promise<boolean>((resolve) => {
      let release: (() => void) | undefined;
      const held = this.#locks.request(this.#options.name, options, (lock) => {
        resolve(lock !== null);
        if (!lock || this.#isClosed || options.signal?.aborted) return undefined;
        const released = new Promise<void>((done) => {
          release = done;
          this.#release = done;
        });
        this.#options.onAcquired();
        return released;
      });
      Promise.resolve(held).then(undefined, (error: { name?: string }) => {
        // Pages of an opaque origin, such as a sandboxed frame, have no locks, and no other tabs.
        if (!release && error.name !== "AbortError" && !this.#isClosed) this.#options.onAcquired();
        resolve(!release && error.name !== "AbortError");
        // Only a stolen lock rejects after it was acquired. A later one of this tab is not concerned.
        if (release && this.#release === release) {
          this.#release = undefined;
          this.#options.onLost();
        }
      });
    });
  }
}
