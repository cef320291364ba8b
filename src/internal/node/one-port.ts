import { createServer as createHttp1, type RequestListener } from "node:http";
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";

/** Answers requests of both HTTP versions, by what they have in common. */
export type Answer = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** A port that is listened on. */
export interface OnePort {
  /** Where it is, as "http://127.0.0.1:34904". */
  url: string;
  port: number;
  /**
   * Takes no more connections and no more calls on those there are, and resolves when the calls under way have ended,
   * or have been cut after `graceMs`. Streams have to be ended by whoever serves them. Called once.
   */
  close(graceMs: number): Promise<void>;
}

/** What every HTTP/2 connection begins with. */
const HTTP2_PREFACE = "PRI * HTTP/2.0";

/** How long a connection may say nothing before it is closed. */
const SILENT_MS = 10_000;

/** Serves HTTP/1.1 and HTTP/2 without TLS on one port, told apart by the first bytes of the connection. */
export async function openPort(
  answer: Answer,
  { host, port }: { host: string; port: number },
): Promise<OnePort> {
  const sockets = new Set<Socket>();
  const sessions = new Set<{ close(): void }>();
  const http1 = createHttp1(answer as unknown as RequestListener);
  const http2 = createHttp2(answer);
  // It never listens itself, so its watch over slow and idle connections has to be started by hand.
  http1.emit("listening");
  http2.on("session", (session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
  });
  // A client that vanishes is an error of its session only; unhandled, it would end the process.
  http2.on("sessionError", () => {});
  const tcp = createTcp((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    handOver(socket, (isHttp2) => (isHttp2 ? http2 : http1).emit("connection", socket));
  });
  await new Promise<void>((resolve, reject) => {
    tcp.once("error", reject);
    tcp.listen({ host, port }, () => resolve());
  });
  const { port: taken } = tcp.address() as AddressInfo;
  const shownHost = host.includes(":") ? `[${host}]` : host;

  return {
    url: `http://${shownHost}:${taken}`,
    port: taken,
    async close(graceMs) {
      const ended = new Promise<void>((resolve) => tcp.close(() => resolve()));
      const cut = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, graceMs);
      // Each HTTP/2 connection closes with its last call; one of HTTP/1.1 has to be found idle.
      for (const session of sessions) session.close();
      // Some clients connect ahead of their next call: fetch does after one that it has given up.
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
      const idle = setInterval(() => http1.closeIdleConnections(), 20);
      http1.closeIdleConnections();
      await ended;
      clearTimeout(cut);
      clearInterval(idle);
    },
  };
}

/** Reads as much of the first bytes as it takes to know the protocol, puts them back, and tells. */
function handOver(socket: Socket, tell: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0);
  socket.setTimeout(SILENT_MS, () => socket.destroy());
  const look = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = Buffer.concat([seen, chunk]);
    const start = seen.subarray(0, HTTP2_PREFACE.length).toString("latin1");
    if (start.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(start)) return;
    socket.removeListener("readable", look);
    socket.removeAllListeners("timeout");
    socket.setTimeout(0);
    socket.unshift(seen);
    tell(start === HTTP2_PREFACE);
  };
  socket.on("readable", look);
}
