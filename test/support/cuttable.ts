import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";

/** A way to a port of this machine that can be cut. */
export interface Cuttable extends AsyncDisposable {
  url: string;
  /** Breaks every connection there is now; the next ones go through. */
  cut(): void;
  /** The same by a TCP reset. */
  reset(): void;
  /** Lets nothing through any more on the connections there are now, and closes none: a network that vanished. */
  stall(): void;
}

/** Opens a TCP way to `port`. */
export async function cuttable(port: number): Promise<Cuttable> {
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
