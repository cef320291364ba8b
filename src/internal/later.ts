import { Code, ConnectError, type Transport } from "@connectrpc/connect";

/**
 * A transport whose code is loaded with its first call, so that a page does not carry what it does not use. Where
 * loading fails, the call is `unavailable`, and the next one tries again.
 */
export function later(load: () => Promise<Transport>): Transport {
  let loading: Promise<Transport> | undefined;
  const loaded = () =>
    (loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw new ConnectError("cannot load the transport", Code.Unavailable, undefined, undefined, error);
    }));
  return {
    unary: async (...args) => (await loaded()).unary(...args),
    stream: async (...args) => (await loaded()).stream(...args),
  };
}
