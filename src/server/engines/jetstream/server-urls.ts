import { ClusterError } from "./errors.js";

/** The servers of a cluster, and who connects to them. */
export interface Servers {
  /** The URLs without credentials, as they may be logged. */
  urls: string[];
  /** Undefined: the URLs have no credentials. */
  login?: { user: string; pass: string } | { token: string };
}

/**
 * Takes the credentials out of the URLs: nats://user:password@host, or nats://token@host. The client would ignore them.
 * Fails if a URL is not one of NATS, or if two have different credentials, as servers that tell of each other share them.
 */
export function parseServers(servers: readonly string[]): Servers {
  const parsed = servers.map(parseServer);
  const logins = parsed.filter(({ login }) => login !== undefined).map(({ login }) => JSON.stringify(login));
  if (new Set(logins).size > 1)
    throw new ClusterError("servers have different credentials: they must be the same");
  const login = parsed.find((each) => each.login)?.login;
  return { urls: parsed.map(({ url }) => url), ...(login && { login }) };
}

function parseServer(text: string): { url: string; login?: Servers["login"] } {
  const url = /^(nats|tls):\/\//.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (!url?.hostname || !/^\/?$/.test(url.pathname) || url.search || url.hash) {
    // Without the credentials, as messages are logged.
    const given = JSON.stringify(text.replace(/\/\/.*@/, "//…@"));
    throw new ClusterError(`servers has ${given}: it must be like nats://host:4222 or tls://host:4222`);
  }
  const user = decodeURIComponent(url.username);
  const pass = decodeURIComponent(url.password);
  const bare = `${url.protocol}//${url.host}`;
  if (user === "" && pass === "") return { url: bare };
  return { url: bare, login: pass === "" ? { token: user } : { user, pass } };
}
