import type { Environment } from "../../gossip/environment.js";
import { type CancelableIterator, cancelable } from "../../lib/cancelable-iterator.js";
import { onAbort } from "../../lib/on-abort.js";
import { canceled } from "../../rpc/canceled.js";
import type { GossipMapState, GossipMapStatus, GossipMapStatusChange } from "../gossip-map.js";
import { ConnectionStatus } from "../status/connection-status.js";

/** The state of the connection without this member's own writes: also what a leading tab tells the others. */
export type LinkState = { current: Exclude<GossipMapState, "closed">; sinceMs: number; error: unknown };

export interface MapStatusOptions {
  environment: Environment;
  /** The state of this member's stream. */
  linkState: () => LinkState["current"];
  /** The number of unsent writes. */
  unsent: () => number;
  /** Called after each change. */
  onChange: () => void;
}

/** The status of a gossip map, which is computed again when something that it depends on has changed. */
export class MapStatus implements GossipMapStatus {
  /** The stream to the server, or to the leading tab. */
  readonly connection: ConnectionStatus;
  readonly #options: MapStatusOptions;
  readonly #readers = new Set<() => void>();
  #state: GossipMapStatusChange;
  /** The state of the leading tab, if this one has no stream of its own. */
  #leader: LinkState | undefined;
  #storageError: unknown;

  constructor(options: MapStatusOptions) {
    this.#options = options;
    this.#state = {
      current: "syncing",
      sinceMs: options.environment.nowMs(),
      error: undefined,
      storageError: undefined,
      unsent: 0,
    };
    this.connection = new ObservedConnection(() => this.update()).begin();
  }

  get current(): GossipMapState {
    return this.#state.current;
  }

  get sinceMs(): number {
    return this.#state.sinceMs;
  }

  get error(): unknown {
    return this.#state.error;
  }

  get storageError(): unknown {
    return this.#state.storageError;
  }

  get unsent(): number {
    return this.#options.unsent();
  }

  /** The state of the connection, to be told to other tabs. */
  get link(): LinkState {
    const { current, sinceMs, error } = this.#state;
    return { current: current === "closed" ? "offline" : current, sinceMs, error };
  }

  /** Takes over the state of the leading tab; undefined: this tab has a stream to the server. */
  follow(leader: LinkState | undefined): void {
    this.#leader = leader;
    this.update();
  }

  /** `error` is why the last write to the storage failed; undefined if it was stored. */
  stored(error: unknown): void {
    this.#storageError = error;
    this.update();
  }

  /** To be called when something has changed that the status depends on. */
  update(): void {
    if (this.current === "closed") return;
    const { environment, unsent } = this.#options;
    const { current, error, sinceMs } = this.#computed();
    const isSame = current === this.current;
    const next = {
      current,
      sinceMs: isSame ? this.sinceMs : (sinceMs ?? environment.nowMs()),
      // A failed attempt to reconnect does not hide why the connection was lost.
      error: isSame && current === "offline" ? this.error : error,
      storageError: this.#storageError,
      unsent: unsent(),
    };
    if (
      isSame &&
      next.unsent === this.#state.unsent &&
      next.storageError === this.storageError &&
      next.error === this.error
    ) {
      return;
    }
    this.#become(next);
  }

  /** It has ended, with `error` if there is one. Idempotent. */
  close(error?: unknown): void {
    if (this.current === "closed") return;
    this.connection.close(error);
    const { environment, unsent } = this.#options;
    const sinceMs = environment.nowMs();
    this.#become({
      current: "closed",
      sinceMs,
      error,
      storageError: this.#storageError,
      unsent: unsent(),
    });
    this.#readers.clear();
  }

  changes({ signal }: { signal?: AbortSignal } = {}): CancelableIterator<GossipMapStatusChange> {
    let last = this.#state;
    let isChanged = () => {};
    const note = () => isChanged();
    this.#readers.add(note);
    const status = this;
    const read = async function* (
      signal: AbortSignal,
    ): AsyncGenerator<GossipMapStatusChange, void, undefined> {
      const stopListening = onAbort(signal, note);
      try {
        while (true) {
          if (signal.aborted) throw canceled(signal);
          if (last !== status.#state) {
            last = status.#state;
            yield last;
          } else if (last.current === "closed") return;
          else {
            await new Promise<void>((resolve) => {
              isChanged = resolve;
            });
          }
        }
      } finally {
        stopListening();
      }
    };
    return cancelable(read, { signal, onEnd: () => this.#readers.delete(note) });
  }

  #computed(): Omit<LinkState, "sinceMs"> & { sinceMs?: number } {
    const current = this.#options.linkState();
    const leader = this.#leader;
    if (leader) {
      // The tabs are connected at once, so the state is that of the leading one, but for the first comparison.
      const isUpToDate = current === "connected" || leader.current === "offline";
      return isUpToDate ? leader : { current: "syncing", error: undefined };
    }
    const { error } = this.connection;
    return { current, error: current === "offline" || current === "behind" ? error : undefined };
  }

  #become(state: GossipMapStatusChange): void {
    this.#state = state;
    for (const wake of this.#readers) wake();
    this.#options.onChange();
  }
}

/** A connection status that reports its changes. */
class ObservedConnection extends ConnectionStatus {
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    super();
    this.#onChange = onChange;
  }

  override connected(): void {
    super.connected();
    this.#onChange();
  }

  override disconnected(error: unknown): void {
    super.disconnected(error);
    this.#onChange();
  }
}
