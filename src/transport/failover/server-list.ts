import { Code, ConnectError } from "@connectrpc/connect";
import { type Backoff, jitteredMs } from "../../lib/backoff.js";
import { onWake } from "../../lib/wake-events.js";
import { sleep } from "../../rpc/sleep.js";
import { markUnprocessed } from "../../rpc/unprocessed.js";

/** How long a server is avoided after its failures in a row. */
const BACKOFF: Backoff = { minMs: 200, maxMs: 10_000 };

/** A client that has lost its server uses the next one within so many milliseconds, after a random part of them. */
const SPREAD_MS = 200;

/** The longest that a call waits until a server may be tried again, in milliseconds. */
const MAX_WAIT_MS = 1000;

interface ListedServer {
  readonly url: string;
  /** How often it failed since its last answer. */
  failures: number;
  /** It is avoided until then. */
  retryAtMs: number;
  /** Counts the failures that were noted: those of calls that began before the last one are the same failure. */
  epoch: number;
  hasAnswered: boolean;
  lastError: string | undefined;
}

/**
 * The servers of which a client uses one, until that one fails or refuses work. The first one and each next one are
 * chosen at random, so that the clients of a server that fails spread over all others. A server that failed is avoided
 * for a time that grows with each failure, with full jitter.
 */
export class ServerList {
  readonly #servers: readonly ListedServer[];
  #current: ListedServer;
  /** The current server is not used before: the clients of a lost server come to the others one after another. */
  #usableAtMs = 0;

  constructor(urls: readonly string[]) {
    this.#servers = urls.map((url) => ({
      url,
      failures: 0,
      retryAtMs: 0,
      epoch: 0,
      hasAnswered: false,
      lastError: undefined,
    }));
    this.#current = oneOf(this.#servers) as ListedServer;
    // A page does not close its lists, so the listener must not keep this one.
    const weak = new WeakRef(this);
    const stop = onWake(() => {
      const list = weak.deref();
      if (list) list.#retryAtOnce();
      else stop();
    });
  }

  /** An attempt on a server that none of `tried` was on; undefined if none may be used now. */
  pick(tried: readonly ServerAttempt[]): ServerAttempt | undefined {
    const server = this.#choose(tried);
    return server && this.#readyAtMs(server) <= performance.now() ? this.#attempt(server) : undefined;
  }

  /**
   * As pick(), but waits if none may be used now: up to a second, and not past the deadline after `timeoutMs`. Rejects
   * with the errors of all servers if that is too short, and with `Code.Canceled` once `signal` aborts.
   */
  async wait(
    tried: readonly ServerAttempt[],
    { signal, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined } = {},
  ): Promise<ServerAttempt> {
    // To Connect, 0 and less mean no deadline.
    const limitMs = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : MAX_WAIT_MS;
    const untilMs = performance.now() + Math.min(limitMs, MAX_WAIT_MS);
    for (;;) {
      // Chosen again after each wait, since other calls may have found out more.
      const server = this.#choose(tried);
      if (!server) throw this.#unreachable();
      const readyAtMs = this.#readyAtMs(server);
      const nowMs = performance.now();
      if (readyAtMs <= nowMs) return this.#attempt(server);
      if (readyAtMs >= untilMs) {
        // A call that cannot wait for its turn need not: only a server that failed must not be called.
        if (server.retryAtMs <= nowMs) return this.#attempt(server);
        throw this.#unreachable();
      }
      await sleep(readyAtMs - nowMs, signal);
    }
  }

  /** Whether a server may be used now, other than the one at `url`. */
  hasOther(url?: string): boolean {
    const nowMs = performance.now();
    return this.#servers.some((server) => server.url !== url && server.retryAtMs <= nowMs);
  }

  #attempt(server: ListedServer): ServerAttempt {
    const { url, epoch } = server;
    const isLatest = () => server.epoch === epoch;
    return {
      url,
      succeeded: () => isLatest() && this.#succeeded(server),
      failed: (error) => isLatest() && this.#failed(server, error),
      refused: () => this.#move(server),
    };
  }

  #succeeded(server: ListedServer): void {
    server.failures = 0;
    server.retryAtMs = 0;
    server.hasAnswered = true;
    server.lastError = undefined;
  }

  #failed(server: ListedServer, error: unknown): void {
    const nowMs = performance.now();
    server.epoch++;
    server.failures++;
    server.retryAtMs = nowMs + jitteredMs(BACKOFF, server.failures);
    server.lastError = failureText(error);
    if (this.#move(server) && server.hasAnswered) this.#usableAtMs = nowMs + Math.random() * SPREAD_MS;
    server.hasAnswered = false;
  }

  /** Uses another server than `server`, if that is the current one and another may be used. */
  #move(server: ListedServer): boolean {
    if (this.#current !== server) return false;
    const nowMs = performance.now();
    const other = oneOf(this.#servers.filter((each) => each !== server && each.retryAtMs <= nowMs));
    if (!other) return false;
    this.#current = other;
    this.#usableAtMs = 0;
    return true;
  }

  #choose(tried: readonly ServerAttempt[]): ListedServer | undefined {
    const nowMs = performance.now();
    const isReady = ({ retryAtMs }: ListedServer) => retryAtMs <= nowMs;
    // All failed, and the wait for the first one is over: it is the one for all calls.
    if (!isReady(this.#current)) this.#current = oneOf(this.#servers.filter(isReady)) ?? this.#current;
    const current = this.#current;
    if (isReady(current) && !isTried(current, tried)) return current;
    const untried = this.#servers.filter((server) => !isTried(server, tried));
    return oneOf(untried.filter(isReady)) ?? untried.sort((a, b) => a.retryAtMs - b.retryAtMs)[0];
  }

  #readyAtMs(server: ListedServer): number {
    return server === this.#current ? Math.max(server.retryAtMs, this.#usableAtMs) : server.retryAtMs;
  }

  /** The network is back, or may be: what failed before says nothing. */
  #retryAtOnce(): void {
    for (const server of this.#servers) server.retryAtMs = 0;
  }

  #unreachable(): ConnectError {
    const reasons = this.#servers.map(({ url, lastError = "not tried" }) => `${url}: ${lastError}`);
    const waitMs = Math.min(...this.#servers.map(({ retryAtMs }) => retryAtMs)) - performance.now();
    const next = waitMs > 0 ? `; the next attempt is possible in ${Math.ceil(waitMs)} ms` : "";
    const text = `cannot reach any of ${reasons.length} servers: ${reasons.join("; ")}${next}`;
    return markUnprocessed(new ConnectError(text, Code.Unavailable));
  }
}

/** A call, or the opening of a connection, on one server of a list. */
export interface ServerAttempt {
  readonly url: string;
  /** The server has answered. */
  succeeded(): void;
  /** The server cannot be reached, or the connection was lost. It is avoided for a while. */
  failed(error: unknown): void;
  /** The server can be reached, but does not do its work now. Another one is used, if there is one. */
  refused(): void;
}

const isTried = ({ url }: ListedServer, tried: readonly ServerAttempt[]): boolean =>
  tried.some((attempt) => attempt.url === url);

const oneOf = <T>(items: readonly T[]): T | undefined => items[Math.floor(Math.random() * items.length)];

/** What `error` says, without the names of servers that precede it. */
export function failureText(error: unknown): string {
  const text = textOf(error).replace(/^cannot reach (any of \d+ servers|[^ ]+?)(: |$)/, "");
  if (text) return text;
  // fetch has its reason, if it tells one, in the cause of its error.
  let cause = error;
  while (cause instanceof Error && cause.cause !== undefined) ({ cause } = cause);
  return textOf(cause);
}

const textOf = (error: unknown): string =>
  error instanceof ConnectError ? error.rawMessage : error instanceof Error ? error.message : String(error);

const lists = new WeakMap<readonly string[], ServerList>();

/** The list of the servers at `urls`: the same one for the same array, so that transports of one client share it. */
export function serverListOf(urls: readonly string[]): ServerList {
  let list = lists.get(urls);
  if (!list) lists.set(urls, (list = new ServerList(urls)));
  return list;
}
