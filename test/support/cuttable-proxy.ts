import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy to a port of this machine, whose connections can be cut. */
export interface CuttableProxy extends AsyncDisposable {
  url: string;
  /** Closes every open connection; new ones work. */
  cut(): void;
  /** Closes every open connection by a TCP reset. */
  reset(): void;
  /** Forwards nothing more on the open connections and closes none, as a network that was lost. */
  stall(): void;
}

/** Opens a proxy to `port`. */
export async function openCuttableProxy(port: number): Promise<CuttableProxy> {
  const sockets = new Set<Socket>();
  const join = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.pipe(to);
    from.on("error", () => {});
    from.on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((socket) => {
    const there = connect(port, "127.0.0.1");
    join(socket, there);
    join(there, socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dispose = async () => {
    cut();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    reset: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    stall: () => {
      for (const socket of sockets) socket.unpipe().pause();
    },
    [Symbol.asyncDispose]: dispose,
  };
}
