import type { Transport } from "@connectrpc/connect";

/** How many names of apps that have left are remembered, to tell "not here now" from "never heard of". */
const MOST_KNOWN = 10_000;

/** The apps that have dialled in, and can be called by the sockets they opened. */
export class DialledApps {
  readonly #here = new Map<string, Transport[]>();
  readonly #known = new Set<string>();

  /** Takes an app in, beside others of its name. Returns the way to take it out. */
  add(name: string, transport: Transport): () => void {
    this.#known.delete(name);
    this.#known.add(name);
    for (const oldest of this.#known) {
      if (this.#known.size <= MOST_KNOWN) break;
      this.#known.delete(oldest);
    }
    this.#here.set(name, [...(this.#here.get(name) ?? []), transport]);
    return () => {
      const left = (this.#here.get(name) ?? []).filter((each) => each !== transport);
      if (left.length > 0) this.#here.set(name, left);
      else this.#here.delete(name);
    };
  }

  /** One of the apps of that name, each in turn; undefined if none is here. */
  next(name: string): Transport | undefined {
    const [first, ...others] = this.#here.get(name) ?? [];
    if (first) this.#here.set(name, [...others, first]);
    return first;
  }

  /** Whether an app of that name has ever been here. */
  knows(name: string): boolean {
    return this.#known.has(name);
  }
}
