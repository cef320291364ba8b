import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/**
 * What `module` has, once it is there: an import() of what a page need not carry before it is asked for. Where it
 * cannot be loaded that is `unavailable`, as when the server itself is out of reach; the next import() tries again.
 */
export async function loaded<M>(module: Promise<M>): Promise<M> {
  try {
    return await module;
  } catch (error) {
    throw new ConnectError("cannot load the code for it", Code.Unavailable, undefined, undefined, error);
  }
}

/** A transport whose code is loaded with its first call, so that a page does not carry what it does not use. */
export function later(load: () => Promise<Transport>): Transport {
  let loading: Promise<Transport> | undefined;
  const ready = () =>
    (loading ??= loaded(load()).catch((error: unknown) => {
      loading = undefined;
      throw error;
    }));
  return {
    unary: async (...args) => (await ready()).unary(...args),
    stream: async (...args) => (await ready()).stream(...args),
  };
}
