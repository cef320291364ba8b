import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import type { Stored } from "../../gossip/replica.js";
import { live } from "../../gossip/version.js";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";

/** How a key's value differs from what the reader was told last; undefined: there is none. */
export type Difference = {
  key: string;
  before: MapValue | undefined;
  after: MapValue | undefined;
  /** Whether this member did it, or did it last. */
  local: boolean;
};

/**
 * The changes of a map for one reader. Those of one key between two steps of the reader become one, so a reader that
 * does not keep up costs no more than the map itself.
 */
export class Changes {
  readonly #pending = new Map<string, Difference>();
  #ended: { error?: unknown; failed: boolean } | undefined;
  #wake: (() => void) | undefined;

  add({ key, before, after }: Stored, local: boolean): void {
    const earlier = this.#pending.get(key);
    const difference = { key, before: earlier ? earlier.before : live(before), after: live(after), local };
    // A key that came and went meanwhile is no difference.
    if (!difference.before && !difference.after) this.#pending.delete(key);
    else this.#pending.set(key, difference);
    this.#wake?.();
  }

  /** Ends the reader's loop once it has seen what there is. */
  end(): void {
    this.#ended ??= { failed: false };
    this.#wake?.();
  }

  /** As end(), and throws `error` in the loop. */
  fail(error: unknown): void {
    this.#ended ??= { failed: true, error };
    this.#wake?.();
  }

  /** Aborting `signal` throws in the loop at once. */
  async *read(signal: AbortSignal): AsyncGenerator<Difference, void, undefined> {
    const stop = onAbort(signal, () => this.#wake?.());
    try {
      while (true) {
        if (signal.aborted) throw canceled(signal);
        const [next] = this.#pending.values();
        if (next) {
          this.#pending.delete(next.key);
          yield next;
        } else if (this.#ended) {
          if (this.#ended.failed) throw this.#ended.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      stop();
      this.#pending.clear();
    }
  }
}
