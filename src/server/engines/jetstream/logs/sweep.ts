import type { JetStreamSession } from "../session.js";
import type { StreamReader } from "../stream-reader.js";
import type { ClusterLog } from "./log.js";

/** The mean time between two sweeps of a server, in milliseconds. */
export const SWEEP_MS = 15_000;

/** A log is checked after this share of the maximum age of its records. */
const AGE_SHARE = 1 / 8;

const PAGE_MESSAGES = 1000;
const PAGE_BYTES = 256 * 1024;

export interface AgeSweepOptions {
  session: JetStreamSession;
  reader: StreamReader;
  /** What the subjects begin with on which logs with a maximum age have a message. The log's token follows. */
  prefix: string;
  logOf: (token: string) => ClusterLog;
  /** The mean time between two sweeps, in milliseconds. */
  sweepMs: number;
}

/** Removes records that have become too old, also of logs to which nobody appends. Several servers may do it at once. */
export class AgeSweep {
  readonly #options: AgeSweepOptions;
  /** When each log is to be checked again, by performance.now(). */
  #dueMs = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: AgeSweepOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Stops, and resolves when no sweep is under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  #schedule(): void {
    // Random, so that the servers do not sweep at the same time.
    const delayMs = this.#options.sweepMs * (0.5 + Math.random());
    this.#timer = setTimeout(() => {
      this.#running = this.#sweep().finally(() => {
        if (this.#timer) this.#schedule();
      });
    }, delayMs);
    this.#timer.unref();
  }

  async #sweep(): Promise<void> {
    const { session, reader, prefix } = this.#options;
    const dueMs = new Map<string, number>();
    try {
      for (let from = 1; ; ) {
        const page = await reader.next(`${prefix}>`, from, PAGE_MESSAGES, PAGE_BYTES);
        for (const { subject, sequence } of page) {
          if (!this.#timer) return;
          const token = subject.slice(prefix.length);
          const due = this.#dueMs.get(token) ?? 0;
          dueMs.set(token, due > performance.now() ? due : await this.#check(token, subject, sequence));
          from = sequence + 1;
        }
        if (page.length === 0) break;
      }
      this.#dueMs = dueMs;
    } catch (err) {
      if (this.#timer)
        session.log.warn({ err }, "old records of logs could not be removed, and will be later");
    }
  }

  /** Checks a log. Returns when it is to be checked again. */
  async #check(token: string, subject: string, sequence: number): Promise<number> {
    const log = this.#options.logOf(token);
    const maxAgeMs = (await log.retention())?.maxAgeMs;
    if (maxAgeMs === undefined) {
      // A later message, of a server that has set a maximum age meanwhile, stays.
      await this.#options.reader.purge(subject, sequence + 1);
      return 0;
    }
    await log.trim();
    return performance.now() + maxAgeMs * AGE_SHARE;
  }
}
