import type { TabPlatform } from "../../src/client/gossip-map/tabs/tab-channel.js";

/** A tab of a fake origin. */
export interface FakeTab extends TabPlatform {
  /** Ends the tab: its locks are released, and nothing that it does has an effect. */
  kill(): void;
  /** Freezes the tab: it keeps its locks, and messages to and from it wait. */
  freeze(): void;
  thaw(): void;
}

type Request = {
  tab: object;
  isLive: () => boolean;
  grant: () => void;
  lose: () => void;
};

/** Web Locks and channels of one origin, whose tabs can be killed and frozen. */
export function fakeOrigin(): { tab(): FakeTab } {
  const held = new Map<string, Request>();
  const queues = new Map<string, Request[]>();
  const channels = new Set<{ name: string; tab: object; deliver: (data: unknown) => void }>();

  const next = (name: string) => {
    if (held.has(name)) return;
    const request = queues.get(name)?.shift();
    if (!request) return;
    if (!request.isLive()) return next(name);
    held.set(name, request);
    request.grant();
  };

  const tab = (): FakeTab => {
    const self = {};
    let isDead = false;
    let isFrozen = false;
    const waiting: (() => void)[] = [];
    const run = (task: () => void) => {
      if (isDead) return;
      if (isFrozen) waiting.push(task);
      else setImmediate(() => (isFrozen ? waiting.push(task) : isDead || task()));
    };

    const request = (
      name: string,
      options: LockOptions,
      callback: (lock: unknown) => unknown,
    ): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const aborted = () => new DOMException("aborted", "AbortError");
        const release = (entry: Request) => {
          if (held.get(name) === entry) {
            held.delete(name);
            next(name);
          }
        };
        const entry: Request = {
          tab: self,
          isLive: () => !isDead && !options.signal?.aborted,
          grant: () =>
            run(() => {
              if (held.get(name) !== entry) return;
              Promise.resolve(callback({ name })).then((value) => {
                release(entry);
                resolve(value);
              }, reject);
            }),
          lose: () => run(() => reject(aborted())),
        };
        options.signal?.addEventListener("abort", () => {
          if (held.get(name) !== entry) reject(aborted());
        });
        if (isDead) return;
        const present = held.get(name);
        if (options.steal) {
          held.set(name, entry);
          present?.lose();
          entry.grant();
        } else if (options.ifAvailable && present) run(() => resolve(callback(null)));
        else {
          queues.set(name, [...(queues.get(name) ?? []), entry]);
          next(name);
        }
      });

    const openChannel = (name: string) => {
      const channel = {
        onmessage: undefined as ((event: { data: unknown }) => void) | undefined,
        postMessage: (data: unknown) => {
          const copy = structuredClone(data);
          run(() => {
            for (const other of [...channels]) {
              if (other !== registered && other.name === name) other.deliver(copy);
            }
          });
        },
        close: () => void channels.delete(registered),
      };
      const registered = {
        name,
        tab: self,
        deliver: (data: unknown) =>
          run(() => channels.has(registered) && channel.onmessage?.({ data: structuredClone(data) })),
      };
      channels.add(registered);
      return channel as unknown as BroadcastChannel;
    };

    return {
      locks: { request } as unknown as TabPlatform["locks"],
      openChannel,
      kill: () => {
        isDead = true;
        for (const channel of channels) if (channel.tab === self) channels.delete(channel);
        for (const [name, entry] of held) {
          if (entry.tab !== self) continue;
          held.delete(name);
          next(name);
        }
      },
      freeze: () => {
        isFrozen = true;
      },
      thaw: () => {
        isFrozen = false;
        for (const task of waiting.splice(0)) run(task);
      },
    };
  };
  return { tab };
}
