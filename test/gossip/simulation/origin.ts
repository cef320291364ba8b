import type { TabPlatform } from "../../../src/client/gossip-map/tabs/tab-channel.js";
import type { Random } from "./random.js";
import type { SimulatedProcess } from "./scheduler.js";
import { Disk } from "./store.js";

/** The longest time that a message between two tabs takes, in milliseconds. */
const MAX_CHANNEL_MS = 5;

interface LockRequest {
  process: SimulatedProcess;
  /** Calls the callback with the lock; returns when the callback's promise has settled. */
  grant: () => Promise<void>;
  /** Called when another tab steals the lock. */
  lose: () => void;
}

/** One tab's end of a channel. */
interface Port {
  process: SimulatedProcess;
  channel: { onmessage: ((event: { data: unknown }) => void) | null };
  isClosed: boolean;
}

/** What the tabs of one origin share: a disk, Web Locks and channels. */
export class Origin {
  readonly disk = new Disk();
  readonly #ports = new Map<string, Set<Port>>();
  readonly #holders = new Map<string, LockRequest>();
  readonly #waiting = new Map<string, LockRequest[]>();

  /** The platform as one tab sees it. */
  connect(process: SimulatedProcess, random: Random): TabPlatform {
    return {
      openChannel: (name) => this.#openChannel(name, process, random) as unknown as BroadcastChannel,
      locks: { request: ((...args: unknown[]) => this.#request(process, args)) as LockManager["request"] },
    };
  }

  /** To be called when a tab has died: the browser releases its locks, and forgets its requests. */
  release(dead: SimulatedProcess): void {
    for (const [name, requests] of this.#waiting) {
      this.#waiting.set(
        name,
        requests.filter(({ process }) => process !== dead),
      );
    }
    for (const [name, { process }] of this.#holders) {
      if (process !== dead) continue;
      this.#holders.delete(name);
      this.#grantNext(name);
    }
  }

  #openChannel(name: string, process: SimulatedProcess, random: Random) {
    const ports = this.#ports.get(name) ?? new Set<Port>();
    this.#ports.set(name, ports);
    const latest = new Map<Port, number>();
    const channel = {
      onmessage: null as ((event: { data: unknown }) => void) | null,
      postMessage: (message: unknown) => {
        const data = structuredClone(message);
        for (const other of ports) {
          if (other === port) continue;
          // In the order in which this tab has sent.
          const nowMs = process.monotonicMs();
          const atMs = Math.max(latest.get(other) ?? 0, nowMs + random.between(0.05, MAX_CHANNEL_MS));
          latest.set(other, atMs);
          other.process.after(atMs - nowMs, () => {
            if (!other.isClosed) other.channel.onmessage?.({ data });
          });
        }
      },
      close: () => {
        port.isClosed = true;
        ports.delete(port);
      },
    };
    const port: Port = { process, channel, isClosed: false };
    ports.add(port);
    return channel;
  }

  async #request(process: SimulatedProcess, args: unknown[]): Promise<void> {
    const [name, options, callback] = args as [string, LockOptions, (lock: object | null) => unknown];
    await process.delay(0.5);
    if (options.signal?.aborted) throw options.signal.reason;
    await new Promise<void>((resolve, reject) => {
      const request: LockRequest = {
        process,
        grant: async () => {
          await callback({ name });
          if (this.#holders.get(name) !== request) return;
          this.#holders.delete(name);
          this.#grantNext(name);
          resolve();
        },
        lose: () => reject(new DOMException("the lock was stolen", "AbortError")),
      };
      const holder = this.#holders.get(name);
      if (options.steal && holder) {
        this.#holders.delete(name);
        holder.lose();
      }
      if (!this.#holders.has(name)) return this.#grant(name, request);
      if (options.ifAvailable) {
        callback(null);
        return resolve();
      }
      const waiting = this.#waiting.get(name) ?? [];
      this.#waiting.set(name, [...waiting, request]);
      options.signal?.addEventListener("abort", () => {
        this.#waiting.set(
          name,
          (this.#waiting.get(name) ?? []).filter((each) => each !== request),
        );
        reject(options.signal?.reason);
      });
    });
  }

  #grant(name: string, request: LockRequest): void {
    this.#holders.set(name, request);
    void request.grant();
  }

  #grantNext(name: string): void {
    const [next, ...others] = this.#waiting.get(name) ?? [];
    this.#waiting.set(name, others);
    if (next) next.process.after(0.5, () => this.#grantOrWait(name, next));
  }

  /** Another request may have taken the lock meanwhile. */
  #grantOrWait(name: string, request: LockRequest): void {
    if (this.#holders.has(name)) this.#waiting.set(name, [request, ...(this.#waiting.get(name) ?? [])]);
    else this.#grant(name, request);
  }
}
