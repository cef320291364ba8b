import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { ConnectionStatus } from "../../client/status/connection-status.js";
import { asyncDispose } from "../../lib/dispose.js";
import { createDispatcher, type Dispatcher } from "../../tunnel/answer/dispatcher.js";
import type { Serving } from "../tunnel.js";

type Routes = (router: ConnectRouter) => void;

/** One call of serve(). */
interface ServedEntry {
  readonly routes: Routes;
  /** The first offer that contains the routes. */
  offer: number;
  readonly status: ConnectionStatus;
  readonly resolve: () => void;
  readonly close: () => Promise<void>;
}

/**
 * The routes that a transport serves to the other end. Each change of them is another offer, with a higher number; the
 * other end replies with the number of the offer that it calls.
 */
export class ServedRoutes {
  /** Answers calls with all routes. */
  dispatcher: Dispatcher = createDispatcher(() => {});
  readonly #sendOffer: (offer: number) => void;
  readonly #entries = new Set<ServedEntry>();
  #lastOffer = 0;

  /** `sendOffer` tells the other end the number of a new offer; 0 if nothing is served. */
  constructor(sendOffer: (offer: number) => void) {
    this.#sendOffer = sendOffer;
  }

  /** The number of the current offer; undefined if nothing is served. */
  get offer(): number | undefined {
    return this.#entries.size > 0 ? this.#lastOffer : undefined;
  }

  serve(routes: Routes): Serving {
    const status = new ConnectionStatus().begin();
    let close = async () => {};
    const ready = new Promise<void>((resolve, reject) => {
      // If the socket has survived a change of the network, the other end replies to a new offer.
      const stopListening = status.onNetworkChange(() => this.#makeOffer());
      const entry: ServedEntry = { routes, offer: 0, status, resolve, close: () => close() };
      this.#entries.add(entry);
      this.#makeOffer();
      entry.offer = this.#lastOffer;
      close = async () => {
        if (!this.#entries.delete(entry)) return;
        stopListening();
        status.close();
        this.#makeOffer();
        reject(new ConnectError("it is not served any more", Code.Canceled));
      };
    });
    // A caller that does not wait for it need not handle its rejection.
    ready.catch(() => {});
    return { ready, status, close, [asyncDispose]: close };
  }

  /** The other end now calls the offer of this number; -1 if it calls none yet. */
  onCalled(offer: number): void {
    // Only a SharedWorker sends 0: it has lost its socket.
    if (offer === 0) this.onLost(new ConnectError("the shared tunnel was lost", Code.Unavailable));
    for (const entry of this.#entries) {
      if (entry.offer > offer) continue;
      entry.status.connected();
      entry.resolve();
    }
  }

  /** The connection was lost, or could not be opened. */
  onLost(error: ConnectError): void {
    for (const { status } of this.#entries) status.disconnected(error);
  }

  close(): void {
    for (const { close } of this.#entries) void close();
  }

  #makeOffer(): void {
    const entries = [...this.#entries];
    this.dispatcher = createDispatcher((router) => {
      for (const { routes } of entries) routes(router);
    });
    this.#lastOffer++;
    this.#sendOffer(this.offer ?? 0);
  }
}
