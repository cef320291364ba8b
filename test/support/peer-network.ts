import { setImmediate as turn } from "node:timers/promises";
import { onAbort } from "../../src/lib/on-abort.js";
import { randomId } from "../../src/lib/random-id.js";
import { EngineFault, PeerFault, type PeerHandler, type PeerMessaging } from "../../src/server/engine.js";

/** One server of a network. */
export interface NetworkPeer extends PeerMessaging {
  /** Leaves the network, as a server does whose process ends. */
  leave(): void;
}

type Listener = (body: Uint8Array) => void;

type Serving = { peer: Peer; handler: PeerHandler };

/** Messages between servers of this process: the double of an engine's peers. */
export class PeerNetwork {
  /** Whether broadcasts are lost, as they may be. */
  losesBroadcasts = false;
  readonly peers = new Set<Peer>();
  readonly #serving = new Map<string, Serving[]>();

  join(): NetworkPeer {
    const peer = new Peer(this);
    this.peers.add(peer);
    return peer;
  }

  serve(name: string, serving: Serving): () => void {
    this.#serving.set(name, [...(this.#serving.get(name) ?? []), serving]);
    return () => this.#remove(name, (each) => each === serving);
  }

  leave(peer: Peer): void {
    this.peers.delete(peer);
    for (const name of [...this.#serving.keys()]) this.#remove(name, (each) => each.peer === peer);
  }

  /** One of those that serve `name`, each in turn. */
  next(name: string): Serving | undefined {
    const [first, ...others] = this.#serving.get(name) ?? [];
    if (first) this.#serving.set(name, [...others, first]);
    return first;
  }

  #remove(name: string, isRemoved: (serving: Serving) => boolean): void {
    const remaining = (this.#serving.get(name) ?? []).filter((each) => !isRemoved(each));
    if (remaining.length > 0) this.#serving.set(name, remaining);
    else this.#serving.delete(name);
  }
}

class Peer implements NetworkPeer {
  readonly id = randomId();
  readonly gone = new AbortController();
  readonly listeners = new Map<string, Set<Listener>>();
  readonly #network: PeerNetwork;

  constructor(network: PeerNetwork) {
    this.#network = network;
  }

  leave(): void {
    this.gone.abort();
    this.#network.leave(this);
  }

  async serve(name: string, handler: PeerHandler): Promise<() => void> {
    this.#checkOpen();
    await turn();
    this.#checkOpen();
    return this.#network.serve(name, { peer: this, handler });
  }

  async request(name: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    this.#checkOpen();
    signal.throwIfAborted();
    await turn();
    const serving = this.#network.next(name);
    if (!serving) throw new PeerFault("unserved", `no server serves ${JSON.stringify(name)}`);
    const ended = new AbortController();
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        onAbort(signal, () => reject(signal.reason));
        onAbort(this.gone.signal, () => reject(closed()));
        onAbort(serving.peer.gone.signal, () => reject(new PeerFault("lost", "the server has gone")));
        const answer = async () =>
          serving.handler(body.slice(), AbortSignal.any([ended.signal, serving.peer.gone.signal]));
        answer().then(
          (bytes) => resolve(bytes.slice()),
          (error: unknown) =>
            reject(new PeerFault("failed", error instanceof Error ? error.message : String(error))),
        );
      });
    } finally {
      ended.abort();
    }
  }

  async subscribe(name: string, listener: Listener): Promise<() => void> {
    this.#checkOpen();
    await turn();
    const listeners = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  broadcast(name: string, body: Uint8Array): void {
    if (this.gone.signal.aborted || this.#network.losesBroadcasts) return;
    for (const peer of this.#network.peers) {
      if (peer === this) continue;
      const copy = body.slice();
      setImmediate(() => {
        if (peer.gone.signal.aborted) return;
        for (const listener of [...(peer.listeners.get(name) ?? [])]) listener(copy);
      });
    }
  }

  #checkOpen(): void {
    if (this.gone.signal.aborted) throw closed();
  }
}

const closed = () => new EngineFault("unavailable", "the engine is closed");
