import { type AgentOptions, Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Duplex } from "node:stream";
import type { SecureContextOptions } from "node:tls";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { runAfter } from "../lib/timer.js";
import { needsNewConnection } from "../rpc/new-connection.js";
import { markUnprocessed } from "../rpc/unprocessed.js";

/** As Node's own agent: idle connections close after this many milliseconds, or earlier if the server says so. */
const IDLE: AgentOptions = { keepAlive: true, scheduling: "lifo", timeout: 5000 };

/** HTTP/1.1 connections to one server. A connection fails if it is not established within `dialMs`. */
export class Http1Connections {
  readonly agent: HttpAgent | HttpsAgent;
  /** The innermost interceptor of a transport over these connections. */
  readonly interceptor: Interceptor;

  constructor(url: string, { tls = {}, dialMs = 10_000 }: { tls?: SecureContextOptions; dialMs?: number }) {
    this.agent = url.startsWith("https:") ? new HttpsAgent({ ...IDLE, ...tls }) : new HttpAgent(IDLE);
    const { agent } = this;
    const create = agent.createConnection.bind(agent);
    agent.createConnection = (options, callback) => {
      const socket = create(options, callback);
      if (socket) limitDial(socket, dialMs);
      return socket;
    };
    this.interceptor = (next) => async (request) => {
      if (request.contextValues.get(needsNewConnection)) this.#dropIdle();
      try {
        return await next(request);
      } catch (error) {
        // A network that lost this call has lost the idle connections too.
        if (isLate(error) || isLate(request.signal.reason)) this.#dropIdle();
        throw error;
      }
    };
  }

  close(): void {
    this.agent.destroy();
  }

  #dropIdle(): void {
    for (const sockets of Object.values(this.agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}

const isLate = (error: unknown): boolean =>
  error instanceof ConnectError && (error.code === Code.DeadlineExceeded || error.code === Code.Unavailable);

function limitDial(socket: Duplex, dialMs: number): void {
  const stop = runAfter(dialMs, () => {
    const why = new Error(`no connection within ${dialMs} ms`);
    socket.destroy(Object.assign(why, { code: "ETIMEDOUT" }));
  });
  // Nothing is sent before the connection is open.
  socket.once("error", markUnprocessed);
  socket.once("encrypted" in socket ? "secureConnect" : "connect", () => {
    stop();
    socket.off("error", markUnprocessed);
  });
  socket.once("close", stop);
}
