import { Code, ConnectError } from "@connectrpc/connect";

/**
 * A fetch for Connect's transports, in every runtime. Network failures are `unavailable`, as on every other transport,
 * not a TypeError of unknown meaning. So are redirects, which Connect would have fetch refuse: workerd does not know
 * how to, so they are asked for, and refused here.
 */
export function reaching(fetch?: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const unavailable = (what: string, cause?: unknown) =>
      new ConnectError(what, Code.Unavailable, undefined, undefined, cause);
    const wanted: RequestInit | undefined =
      init?.redirect === "error" ? { ...init, redirect: "manual" } : init;
    let response: Response;
    try {
      response = await (fetch ?? globalThis.fetch)(input, wanted);
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      throw unavailable(`cannot reach ${hostOf(input)}`, error);
    }
    if (!isRedirect(response)) return response;
    void response.body?.cancel().catch(() => {});
    throw unavailable(`${hostOf(input)} answered with a redirect: the URL must be the server's own`);
  };
}

/** A browser shows no more of it than that it is one. */
const isRedirect = ({ type, status }: Response): boolean =>
  type === "opaqueredirect" || [301, 302, 303, 307, 308].includes(status);

const hostOf = (input: RequestInfo | URL): string =>
  new URL(input instanceof Request ? input.url : String(input)).host;
