import { Code, ConnectError, type StreamResponse, type Transport } from "@connectrpc/connect";
import { expectManyListeners } from "../lib/max-listeners.js";
import { onAbort } from "../lib/on-abort.js";
import { runAfter } from "../lib/timer.js";
import { canceled } from "../rpc/canceled.js";
import { deadline } from "../rpc/deadline.js";
import { ReplayedInput } from "../rpc/replayed-input.js";
import { isUnprocessed, markUnprocessed } from "../rpc/unprocessed.js";
import { withNotedErrors } from "./failover/noted-errors.js";
import { markForOther, serverFailure } from "./failover/server-failure.js";
import { type ServerAttempt, type ServerList, serverListOf } from "./failover/server-list.js";

/** A transport to one server. */
type ServerTransport = Transport & { close?: () => Promise<void> };

/** A transport to the one of several servers that is in use. */
interface FailoverTransport extends Transport {
  close(): Promise<void>;
}

export interface FailoverOptions {
  /** Makes the transport to the server at `url`. It is called once for each server, when that is used first. */
  readonly open: (url: string) => ServerTransport;
  /** The deadline of calls that have none of their own, in milliseconds. */
  readonly defaultTimeoutMs?: number | undefined;
  /**
   * Rejects if the server cannot be reached. It is called before the first call to a server, and before the next one
   * after a failure. For transports that cannot tell a server that is gone from a lost answer. Default: no check.
   */
  readonly check?: ((transport: Transport) => Promise<unknown>) | undefined;
}

/**
 * A transport to one of the servers at `urls`, which moves to another when that one is lost or refuses work. A call is
 * sent again only if it was certainly not processed; withRetry() decides about all others. Streams do not move.
 */
export function createFailover(urls: readonly string[], options: FailoverOptions): FailoverTransport {
  const failover = new Failover(urls, options);
  return {
    unary: (...args) => failover.unary(...args),
    stream: (...args) => failover.stream(...args),
    close: () => failover.close(),
  };
}

/** What bounds a call. */
interface CallBounds {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
}

/** A server in use. */
interface OpenServer {
  readonly transport: ServerTransport;
  /** Settles when its check has; undefined if it needs one. */
  checked: Promise<unknown> | undefined;
}

class Failover implements Transport {
  readonly #list: ServerList;
  readonly #options: FailoverOptions;
  readonly #servers = new Map<string, OpenServer>();

  constructor(urls: readonly string[], options: FailoverOptions) {
    this.#list = serverListOf(urls);
    this.#options = options;
  }

  readonly unary: Transport["unary"] = async (method, signal, timeoutMs, ...rest) => {
    const { result } = await this.#send({ signal, timeoutMs }, (transport, remainingMs) =>
      transport.unary(method, signal, remainingMs, ...rest),
    );
    return result;
  };

  readonly stream: Transport["stream"] = async (method, signal, timeoutMs, header, messages, values) => {
    const input = new ReplayedInput(messages);
    try {
      const { result, attempt } = await this.#send(
        { signal, timeoutMs },
        (transport, remainingMs) =>
          transport.stream(method, signal, remainingMs, header, input.open(), values),
        () => input.isWhole,
      );
      input.release();
      return this.#watched(result, attempt, signal);
    } catch (error) {
      input.fail(error);
      throw error;
    }
  };

  async close(): Promise<void> {
    await Promise.all([...this.#servers.values()].map(({ transport }) => transport.close?.()));
  }

  /** Makes a call on one server after the other, until one has processed it, or may have. */
  async #send<T>(
    { signal, timeoutMs = this.#options.defaultTimeoutMs }: CallBounds,
    call: (transport: Transport, timeoutMs: number | undefined) => Promise<T>,
    canResend: () => boolean = () => true,
  ): Promise<{ result: T; attempt: ServerAttempt }> {
    expectManyListeners(signal);
    const remaining = deadline(timeoutMs === undefined ? {} : { timeoutMs }, "Cannot call");
    const tried: ServerAttempt[] = [];
    for (;;) {
      const bounds: CallBounds = { signal, timeoutMs: remaining().timeoutMs };
      const attempt = this.#list.pick(tried) ?? (await this.#list.wait(tried, bounds));
      tried.push(attempt);
      try {
        const { transport } = await this.#checkedServer(attempt.url, bounds);
        const result = await call(transport, remaining().timeoutMs);
        attempt.succeeded();
        return { result, attempt };
      } catch (error) {
        this.#note(error, attempt, signal);
        if (!isUnprocessed(error) || signal?.aborted || !canResend()) throw error;
      }
    }
  }

  /** Notes what the error of a call says of the server. */
  #note(error: unknown, attempt: ServerAttempt, signal: AbortSignal | undefined): void {
    const failure = signal?.aborted ? undefined : serverFailure(error);
    if (!failure) return;
    if (failure === "lost") {
      attempt.failed(error);
      const server = this.#servers.get(attempt.url);
      if (server) server.checked = undefined;
    } else attempt.refused();
    if (this.#list.hasOther(attempt.url)) markForOther(error as ConnectError, failure);
  }

  /** Notes a failure within a response, too. */
  #watched<R extends StreamResponse>(
    response: R,
    attempt: ServerAttempt,
    signal: AbortSignal | undefined,
  ): R {
    return withNotedErrors(response, (error) => this.#note(error, attempt, signal));
  }

  async #checkedServer(url: string, bounds: CallBounds): Promise<OpenServer> {
    let server = this.#servers.get(url);
    if (!server)
      this.#servers.set(url, (server = { transport: this.#options.open(url), checked: undefined }));
    const { check } = this.#options;
    if (!check) return server;
    server.checked ??= check(server.transport).catch((error: unknown) => {
      throw markUnprocessed(ConnectError.from(error, Code.Unavailable));
    });
    await within(server.checked, bounds);
    return server;
  }
}

/** Settles as `shared` does, which other calls wait for too, but not after the end of this call. */
function within(shared: Promise<unknown>, { signal, timeoutMs = 0 }: CallBounds): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new ConnectError("the deadline has passed", Code.DeadlineExceeded));
    const stopTimer = timeoutMs > 0 ? runAfter(timeoutMs, late) : () => {};
    const stopListening = onAbort(signal, () => signal && reject(canceled(signal)));
    shared.then(resolve, reject).finally(() => {
      stopTimer();
      stopListening();
    });
  });
}
