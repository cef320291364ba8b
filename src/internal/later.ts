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

/** What `load` gives, the same each time; where it fails, the next call tries again. */
export function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined;
  return () =>
    (loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw error;
    }));
}

/** A transport that is there with its first call, so that a page does not carry the code of what it does not use. */
export function later(load: () => Promise<Transport>): Transport {
  const ready = once(load);
  return {
    unary: async (...args) => (await ready()).unary(...args),
    stream: async (...args) => (await ready()).stream(...args),
  };
}
