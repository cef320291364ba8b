import type { IncomingCall } from "../tunnel/call/call.js";
import { TunnelConnection } from "../tunnel/connection.js";
import { relay } from "../tunnel/relay.js";
import { Session } from "../tunnel/session.js";
import { type MessagePortLike, overMessagePort } from "../tunnel/socket/message-port.js";
import { dialWebSocket, tunnelUrl } from "../tunnel/socket/web-socket.js";
import type { SharedTunnelOptions } from "./share.js";

/** The other side of a shared tunnel, as a SharedWorker has it. */
interface WorkerScope {
  onconnect: ((event: MessageEvent) => void) | null;
}

/**
 * Makes the SharedWorker whose script calls this the one end that all pages of an origin have in common: they share a
 * socket to each server, and each of them can be called. Nothing else is needed in that script.
 */
export function shareTunnels(scope: unknown = globalThis): void {
  const tunnels = new Map<string, SharedLine>();
  (scope as WorkerScope).onconnect = ({ ports: [port] }) => {
    if (!port) return;
    port.onmessage = ({ data }: MessageEvent<SharedTunnelOptions>) => {
      const key = JSON.stringify([data.url, data.appId ?? null]);
      let tunnel = tunnels.get(key);
      if (!tunnel) tunnels.set(key, (tunnel = new SharedLine(data)));
      tunnel.join(port);
    };
  };
}

/** One socket to a server, and the pages that use it. */
class SharedLine {
  readonly #line: TunnelConnection;
  /** The pages that serve something, the one to be called next in front. */
  #serving: Session[] = [];
  #offers = 0;
  #authorization: string | undefined;

  constructor({ url, appId, idleMs, dialTimeoutMs }: SharedTunnelOptions) {
    const at = tunnelUrl(url);
    this.#line = new TunnelConnection({
      dial: () => dialWebSocket(at, dialTimeoutMs),
      host: new URL(url).host,
      idleMs,
      identity: () => ({
        ...(appId !== undefined && { appId }),
        ...(this.#authorization !== undefined && { authorization: this.#authorization }),
        ...(this.#serving.length > 0 && { offer: this.#offers }),
      }),
      answer: (session) => (call, stream, settle) => {
        const page = this.#nextPage();
        if (page) return relay(session(), page, call, stream, settle);
        stream.end({ code: 14, text: "no page serves this any more", details: [], trailers: [] });
        settle();
      },
      // Each change of what the pages serve is another offer, so that the server calls them all once it calls the last.
      onSettings: ({ calledOffer: called }) => {
        if (called !== this.#offers) return;
        for (const page of this.#serving) page.sendSettings({ calledOffer: page.peer.offer });
      },
      onLost: () => {
        for (const page of this.#serving) page.sendSettings({ calledOffer: 0 });
      },
    });
  }

  join(port: MessagePortLike): void {
    let offers = 0;
    const session: Session = new Session(overMessagePort(port), {
      isDialler: false,
      answer: (call, stream, settle) =>
        relay(session, this.#line, signed(call, session.peer.authorization), stream, settle),
      onSettings: (peer) => {
        if (peer.authorization !== undefined) this.#authorization = peer.authorization;
        if ((peer.offer ?? 0) === offers) return;
        offers = peer.offer ?? 0;
        this.#serving = this.#serving.filter((each) => each !== session);
        if (offers > 0) this.#serving.push(session);
        this.#tell();
      },
      onClosed: () => {
        if (!this.#serving.includes(session)) return;
        this.#serving = this.#serving.filter((each) => each !== session);
        this.#tell();
      },
    });
  }

  #tell(): void {
    this.#offers++;
    const serves = this.#serving.length > 0;
    this.#line.keepOpen(serves);
    const authorization = this.#authorization;
    this.#line.session?.sendSettings({
      ...(authorization !== undefined && { authorization }),
      offer: serves ? this.#offers : 0,
    });
  }

  #nextPage(): Session | undefined {
    const [first, ...others] = this.#serving;
    if (first) this.#serving = [...others, first];
    return first;
  }
}

/** A call with what its page says of itself: the socket is not the page's own. */
function signed(call: IncomingCall, authorization: string | undefined): IncomingCall {
  if (authorization === undefined || call.header.some(([name]) => name === "authorization")) return call;
  return { ...call, header: [...call.header, ["authorization", authorization]] };
}
