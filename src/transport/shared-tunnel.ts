import { Code } from "@connectrpc/connect";
import type { IncomingCall } from "../tunnel/call/call.js";
import { TunnelConnection } from "../tunnel/connection.js";
import { relay } from "../tunnel/relay.js";
import { Session } from "../tunnel/session.js";
import { type MessagePortLike, overMessagePort } from "../tunnel/socket/message-port.js";
import { dialWebSocket, tunnelUrl } from "../tunnel/socket/web-socket.js";
import { OK_STATUS } from "../tunnel/wire/frame.js";
import { dialOneOf, hostOf } from "./failover/dial.js";
import type { SharedTunnelOptions } from "./share.js";
import { identityOf } from "./tunnel/session-identity.js";

/** The part of a SharedWorker's global scope that is used here. */
interface WorkerScope {
  onconnect: ((event: MessageEvent) => void) | null;
}

/**
 * Shares tunnels between all pages of an origin: call it in the script of a SharedWorker, which needs nothing else. The
 * pages use one socket to each server, and the server can call each of them.
 *
 * @example
 * ```ts browser
 * // worker.ts, which pages name with
 * // sharedWorker: () => new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module" })
 * import { shareTunnels } from "fairlead/tunnel";
 *
 * shareTunnels();
 * ```
 */
export function shareTunnels(scope: unknown = globalThis): void {
  const tunnels = new Map<string, SharedTunnel>();
  (scope as WorkerScope).onconnect = ({ ports: [port] }) => {
    if (!port) return;
    port.onmessage = ({ data }: MessageEvent<SharedTunnelOptions>) => {
      const key = JSON.stringify([data.urls, data.appId ?? null]);
      let tunnel = tunnels.get(key);
      if (!tunnel) tunnels.set(key, (tunnel = new SharedTunnel(data)));
      tunnel.join(port);
    };
  };
}

/** One socket to a server, and the sessions with the pages that use it. */
class SharedTunnel {
  readonly #connection: TunnelConnection;
  /** The pages that serve routes; the first one gets the next call. */
  #servingPages: Session[] = [];
  #offer = 0;
  #authorization: string | undefined;

  constructor({ urls, appId, idleMs, dialTimeoutMs }: SharedTunnelOptions) {
    this.#connection = new TunnelConnection({
      dial: () => dialOneOf(urls, (url) => dialWebSocket(tunnelUrl(url), dialTimeoutMs)),
      host: hostOf(urls),
      idleMs,
      identity: () => identityOf(appId, this.#authorization, this.#isServing ? this.#offer : undefined),
      answer: (session) => (call, stream, settle) => {
        const page = this.#nextPage();
        if (page) return relay(session(), page, call, stream, settle);
        stream.end({ ...OK_STATUS, code: Code.Unavailable, text: "no page serves this any more" });
        settle();
      },
      // A change of any page is another offer: if the server calls the last one, it calls all pages.
      onSettings: ({ calledOffer }) => {
        if (calledOffer !== this.#offer) return;
        for (const page of this.#servingPages) page.sendSettings({ calledOffer: page.peer.offer });
      },
      onLost: () => {
        for (const page of this.#servingPages) page.sendSettings({ calledOffer: 0 });
      },
    });
  }

  /** Adds the page at the other end of `port`. */
  join(port: MessagePortLike): void {
    let offer = 0;
    const page: Session = new Session(overMessagePort(port), {
      isDialler: false,
      answer: (call, stream, settle) =>
        relay(page, this.#connection, withAuthorization(call, page.peer.authorization), stream, settle),
      onSettings: (peer) => {
        if (peer.authorization !== undefined) this.#authorization = peer.authorization;
        if ((peer.offer ?? 0) === offer) return;
        offer = peer.offer ?? 0;
        this.#servingPages = this.#servingPages.filter((other) => other !== page);
        if (offer > 0) this.#servingPages.push(page);
        this.#makeOffer();
      },
      onClosed: () => {
        if (!this.#servingPages.includes(page)) return;
        this.#servingPages = this.#servingPages.filter((other) => other !== page);
        this.#makeOffer();
      },
    });
  }

  get #isServing(): boolean {
    return this.#servingPages.length > 0;
  }

  #makeOffer(): void {
    this.#offer++;
    this.#connection.keepOpen(this.#isServing);
    const offer = this.#isServing ? this.#offer : 0;
    this.#connection.session?.sendSettings(identityOf(undefined, this.#authorization, offer));
  }

  #nextPage(): Session | undefined {
    const [first, ...others] = this.#servingPages;
    if (first) this.#servingPages = [...others, first];
    return first;
  }
}

/** Adds the page's authorization to a call without one: the server knows only that of the socket. */
function withAuthorization(call: IncomingCall, authorization: string | undefined): IncomingCall {
  if (authorization === undefined || call.header.some(([name]) => name === "authorization")) return call;
  return { ...call, header: [...call.header, ["authorization", authorization]] };
}
