import { Code, ConnectError } from "@connectrpc/connect";

/**
 * A fetch for Connect's transports, in every runtime. Network failures are `unavailable`, as on every other transport,
 * not a TypeError of unknown meaning. So are redirects, which Connect would have fetch refuse: workerd does not know
 * how to, so they are asked for, and refused here.
 */
export function reaching(fetch?: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    let why = "";
    let cause: unknown;
    try {
      const response = await (fetch ?? globalThis.fetch)(input, { ...init, redirect: "manual" });
      const { type, status } = response;
      // Of a redirect a browser shows the type only.
      if (type !== "opaqueredirect" && (status < 300 || status > 399)) return response;
      why = ": it redirects";
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      cause = error;
    }
    const { host } = new URL(input instanceof Request ? input.url : String(input));
    throw new ConnectError(`cannot reach ${host}${why}`, Code.Unavailable, undefined, undefined, cause);
  };
}
