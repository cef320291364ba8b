import type { MapValue } from "../../../gen/atomix/map/map_pb.js";
import type { Stored } from "../../gossip/replica.js";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";

/** The values of a key at the reader's last step and now; undefined if there is none. */
export type Difference = {
  key: string;
  before: MapValue | undefined;
  after: MapValue | undefined;
  /** Whether this member made the last change. */
  local: boolean;
};

/**
 * The pending changes of a map for one reader. Several changes of a key between two steps of the reader become one, so
 * a slow reader needs no more memory than the map itself.
 */
export class Changes {
  readonly #pending = new Map<string, Difference>();
  #end: { error?: unknown; isFailure: boolean } | undefined;
  #wake: (() => void) | undefined;

  add({ key, before, live }: Stored, local: boolean): void {
    const earlier = this.#pending.get(key);
    const difference = {
      key,
      before: earlier ? earlier.before : before,
      after: live,
      local,
    };
    // The key was added and removed again since the last step.
    if (!difference.before && !difference.after) this.#pending.delete(key);
    else this.#pending.set(key, difference);
    this.#wake?.();
  }

  /** Ends the reader's loop after the pending changes. */
  end(): void {
    this.#end ??= { isFailure: false };
    this.#wake?.();
  }

  /** Makes the reader's loop throw `error` after the pending changes. */
  fail(error: unknown): void {
    this.#end ??= { isFailure: true, error };
    this.#wake?.();
  }

  /** Yields the changes. Throws as soon as `signal` aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<Difference, void, undefined> {
    const stopListening = onAbort(signal, () => this.#wake?.());
    try {
      while (true) {
        if (signal.aborted) throw canceled(signal);
        const [next] = this.#pending.values();
        if (next) {
          this.#pending.delete(next.key);
          yield next;
        } else if (this.#end) {
          if (this.#end.isFailure) throw this.#end.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      stopListening();
      this.#pending.clear();
    }
  }
}
