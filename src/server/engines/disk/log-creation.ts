/** The followers that wait for logs which do not exist yet. */
export class LogCreation {
  readonly #waiting = new Map<string, Set<() => void>>();

  /** Resolves when the log is created, on close(), or when `signal` aborts; at once if `isCreated()` already. */
  wait(name: string, isCreated: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(name) ?? new Set();
      const done = () => {
        waiting.delete(done);
        if (waiting.size === 0) this.#waiting.delete(name);
        signal.removeEventListener("abort", done);
        resolve();
      };
      if (isCreated()) return resolve();
      this.#waiting.set(name, waiting.add(done));
      signal.addEventListener("abort", done, { once: true });
    });
  }

  /** Wakes those that wait for the log `name`. */
  notify(name: string): void {
    for (const done of [...(this.#waiting.get(name) ?? [])]) done();
  }

  close(): void {
    for (const name of [...this.#waiting.keys()]) this.notify(name);
  }
}
