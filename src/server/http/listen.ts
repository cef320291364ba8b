/// <reference lib="esnext.disposable" preserve="true" />
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { isLoopback } from "../../lib/loopback.js";
import { Connections } from "../../node-http/connections.js";
import { type OnePort, openPort } from "../../node-http/one-port.js";
import { sleep } from "../../rpc/sleep.js";
import { requireAccess } from "../access/host.js";
import type { Server } from "../server.js";
import { tunnelUpgrade } from "../tunnel/upgrade.js";
import { createCors } from "./cors.js";
import { hostCheck } from "./host-check.js";
import type { Pages } from "./listen/custom-pages.js";
import { pathOf, requestListener } from "./listen/request-listener.js";
import { serverPages } from "./pages.js";

/** A key and its certificate, and the other options of Node's `tls.createSecureContext`. */
export type TlsOptions = SecureContextOptions & Required<Pick<SecureContextOptions, "key" | "cert">>;

/** The options of listen(). */
export interface ListenOptions {
  /**
   * The address to listen on. Default: "127.0.0.1", which only this machine can reach. Other addresses need `access` in
   * the server's configuration, or `insecure`.
   */
  host?: string;
  /** Whether every client that reaches `host` may call a server without `access`. Default: false. */
  insecure?: boolean;
  /** The port; 0 takes a free one. Default: 34904, the port of Layotto, which existing clients call. */
  port?: number;
  /**
   * A PEM key and its certificate with the intermediate ones, and the other options of Node's
   * `tls.createSecureContext`. The port then speaks TLS only: HTTP/2 and HTTP/1.1 by ALPN. Default: no TLS.
   */
  tls?: TlsOptions;
  /**
   * How long close() still takes calls, in milliseconds, while `/readyz` and Health already report that the server is
   * not ready: the time that a load balancer needs to notice. Default: 0.
   */
  drainMs?: number;
  /** How long close() lets calls under way finish, in milliseconds, before it cuts them. Default: 5000. */
  graceMs?: number;
  /** Pages of your own beside the calls, by the first segments of their paths. Default: none. */
  pages?: Pages;
}

/** A server on a port. */
export interface Listening extends AsyncDisposable {
  /** As "http://127.0.0.1:34904", or https with TLS. */
  url: string;
  /** The port that it listens on. */
  port: number;
  /**
   * Uses a renewed key and certificate for further connections; open connections keep theirs. Throws a TypeError if the
   * two do not match, or if the port has no TLS, and changes nothing then.
   */
  setTls(tls: TlsOptions): void;
  /**
   * Reports that the server is not ready (`/readyz` and Health), and takes calls for `drainMs` more. Then it refuses
   * further calls, ends the streams that have no end of their own, waits up to `graceMs` for the other calls, and
   * closes the port, the server and its engine. Idempotent.
   */
  close(): Promise<void>;
}

/**
 * Opens one port for `server`: Connect, gRPC and gRPC-Web over HTTP/1.1 and HTTP/2, and tunnels, with or without TLS.
 *
 * @throws TypeError if the key and the certificate do not match, or if others could reach a server without `access`.
 *
 * @example
 * ```ts
 * import { createClient } from "fairlead";
 * import { createServer } from "fairlead/server";
 * import { listen, nodePlatform } from "fairlead/server/node";
 *
 * const listening = await listen(createServer({ platform: nodePlatform }), { port: 34904 });
 * console.log(await createClient(listening.url).hello().say("Ada")); // Hello, Ada
 * await listening.close();
 * ```
 */
export async function listen(
  server: Server,
  {
    host = "127.0.0.1",
    insecure = false,
    port = 34904,
    tls,
    drainMs = 0,
    graceMs = 5000,
    pages,
  }: ListenOptions = {},
): Promise<Listening> {
  if (tls) checkTls(tls);
  requireAccess(host, server.config, insecure);
  const opened = await openServerPort(server, { host, port, tls, customPages: pages });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= closeInOrder(server, opened, { drainMs, graceMs }));
  const setTls = (renewed: TlsOptions) => {
    if (!tls)
      throw new TypeError("Cannot change the certificate of a port without TLS: listen() must be given tls");
    checkTls(renewed);
    opened.setTls(renewed);
  };
  return { url: opened.url, port: opened.port, setTls, close, [Symbol.asyncDispose]: close };
}

interface ServerPortOptions {
  host: string;
  port: number;
  tls: TlsOptions | undefined;
  customPages: Pages | undefined;
}

function openServerPort(
  server: Server,
  { host, port, tls, customPages }: ServerPortOptions,
): Promise<OnePort> {
  const { limits, hosts, cors: corsConfig } = server.config;
  const connections = new Connections(limits.connections, limits.connectionIdleMs);
  const cors = createCors(corsConfig);
  const check = hostCheck({ hosts, cors, onLoopback: isLoopback(host) });
  const pages = serverPages(server);
  const { answer, answerStream } = requestListener(server, { connections, check, cors, pages, customPages });
  return openPort(answer, {
    answerStream,
    host,
    port,
    tls,
    connections,
    // Clients queue further calls at this number. The server's own limit is for clients that do not queue, or that
    // begin before they know it.
    callsPerConnection: limits.connectionStreams,
    // Above the limit, so that the server refuses a call itself, with its reason, before HTTP does without one.
    headerBytes: limits.headerBytes + 64 * 1024,
    keepalive: limits,
    onLost: (why, address) => server.log.info({ why, address }, "a connection was lost"),
    upgrade: tunnelUpgrade(server, connections, check),
    whileClosing: ({ url }) => {
      const path = pathOf(url);
      return pages.get(path)?.isServedWhileClosing ?? /^\/grpc\.health\.v1\.Health\/\w+$/.test(path);
    },
  });
}

async function closeInOrder(
  server: Server,
  port: OnePort,
  { drainMs, graceMs }: { drainMs: number; graceMs: number },
): Promise<void> {
  server.drain();
  port.drain();
  if (drainMs > 0) await sleep(drainMs);
  // Clients hear first that the connection takes no more calls, so that they open their streams again elsewhere.
  const isClosed = port.close(graceMs);
  server.tunnels.leave();
  server.endStreams();
  await isClosed;
  await server.close();
}

function checkTls(tls: SecureContextOptions): void {
  if (!tls.key || !tls.cert)
    throw new TypeError("Cannot serve TLS: tls.key and tls.cert must both be given, as PEM");
  try {
    createSecureContext(tls);
  } catch (error) {
    throw new TypeError(`Cannot serve TLS with this tls.key and tls.cert: ${(error as Error).message}`);
  }
}
