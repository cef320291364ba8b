import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/**
 * What `module` has, once it is there: an import() of what a page need not carry before it is asked for. Where it
 * cannot be loaded that is `unavailable`, as when the server itself is out of reach; the next import() tries again.
 */
export async function loadChunk<M>(module: Promise<M>): Promise<M> {
  try {
    return await module;
  } catch (error) {
    throw new ConnectError("cannot load the code for it", Code.Unavailable, undefined, undefined, error);
  }
}

/** An object with `methods`, those of what `create` makes of the code that is loaded with the first call. */
export function lazyMethods<T extends object>(
  create: (code: typeof import("../client/lazy-chunk.js")) => T,
  methods: readonly (keyof T & string)[],
): T {
  let made: T | undefined;
  const methodOf =
    (name: keyof T) =>
    async (...args: unknown[]) => {
      made ??= create(await loadChunk(import("../client/lazy-chunk.js")));
      return (made[name] as (...args: unknown[]) => unknown)(...args);
    };
  return Object.fromEntries(methods.map((name) => [name, methodOf(name)])) as T;
}

/** What `load` gives, the same each time; where it fails, the next call tries again. */
export function cacheUntilFailure<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined;
  return () =>
    (loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw error;
    }));
}

/** A transport that is there with its first call, so that a page does not carry the code of what it does not use. */
export function lazyTransport(load: () => Promise<Transport>): Transport {
  const ready = cacheUntilFailure(load);
  return {
    unary: async (...args) => (await ready()).unary(...args),
    stream: async (...args) => (await ready()).stream(...args),
  };
}
