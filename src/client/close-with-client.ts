import { asyncDispose } from "../lib/dispose.js";

interface Closable {
  close(): Promise<void>;
}

/** The result of `opening`, which also closes when the client closes. `register` registers it, even while it opens. */
export async function closeWithClient<T extends Closable>(
  opening: T | Promise<T>,
  register: (end: () => unknown) => () => void,
): Promise<T> {
  const pending = Promise.resolve(opening);
  const unregister = register(async () => (await pending).close());
  const opened = await pending.catch((error) => {
    unregister();
    throw error;
  });
  const close = () => {
    unregister();
    return opened.close();
  };
  return { ...opened, close, [asyncDispose]: close };
}

/** Serves `routes` to the server behind `transport`. Throws TypeError if that server cannot call it. */
export function serveRoutes<R, S>(transport: { serve?: (routes: R) => S }, routes: R): S {
  if (transport.serve) return transport.serve(routes);
  throw new TypeError(
    "Cannot serve: the server cannot call this transport; " +
      "createWebTransport() and createTunnelTransport() make one that it can",
  );
}
