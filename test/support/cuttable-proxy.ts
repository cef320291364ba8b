import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import { type Impairment, ProxiedStream } from "./proxied-stream.js";

/** A TCP proxy to a port of this machine, whose connections can be cut, stopped and slowed down. */
export interface CuttableProxy extends AsyncDisposable {
  url: string;
  port: number;
  /** Closes every open connection; new ones work. */
  cut(): void;
  /** Closes every open connection by a TCP reset. */
  reset(): void;
  /** Forwards nothing more on the open connections and closes none, as a network that was lost. */
  stall(): void;
  /** Closes every open connection and all that are opened until heal(). */
  refuse(): void;
  /** Slows down or stops all connections, also new ones, until heal(). What they hold back is not lost. */
  impair(impairment: Impairment): void;
  /** Ends refuse() and impair(). */
  heal(): void;
}

/** Opens a proxy to `port`. It listens at `listenAt`; 0 is a free port. */
export async function openCuttableProxy(port: number, listenAt = 0): Promise<CuttableProxy> {
  const sockets = new Set<Socket>();
  const streams = new Set<ProxiedStream>();
  let impairment: Impairment | undefined;
  let refuses = false;
  const join = (from: Socket, to: Socket) => {
    const stream = new ProxiedStream(from, to);
    stream.impair(impairment);
    sockets.add(from);
    streams.add(stream);
    from.on("error", () => {});
    from.on("close", () => sockets.delete(from));
    to.on("close", () => {
      streams.delete(stream);
      // Also if the other end was cut while the stream held bytes back.
      stream.close();
    });
  };
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    for (const stream of streams) stream.close();
  };
  const impairAll = (next: Impairment | undefined) => {
    impairment = next;
    for (const stream of streams) stream.impair(next);
  };
  const server = createServer({ noDelay: true }, (socket) => {
    if (refuses) return void socket.destroy();
    const target = connect({ port, host: "127.0.0.1", noDelay: true });
    join(socket, target);
    join(target, socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listenAt, "127.0.0.1", resolve);
  });
  const dispose = async () => {
    cut();
    await new Promise((resolve) => server.close(resolve));
  };
  const { port: opened } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${opened}`,
    port: opened,
    cut,
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
      for (const stream of streams) stream.close();
    },
    stall: () => {
      for (const stream of streams) stream.stall();
    },
    refuse: () => {
      refuses = true;
      cut();
    },
    impair: impairAll,
    heal: () => {
      refuses = false;
      impairAll(undefined);
    },
    [Symbol.asyncDispose]: dispose,
  };
}
