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
  /** Rejects if the server cannot be reached. It is called after a call that ran out of time, before the next one. */
  readonly check: (transport: Transport) => Promise<unknown>;
  /**
   * Whether a server is also checked before its first call, and after a failure: for transports that cannot tell a
   * server that is gone from a lost answer.
   */
  readonly checksFirst: boolean;
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
  /** Whether it must be checked before the next call. */
  needsCheck: boolean;
  checking: Promise<unknown> | undefined;
}

class Failover implements Transport {
  readonly #list: ServerList;
  readonly #options: FailoverOptions;
  readonly #servers = new Map<string, OpenServer>();
  #isClosed = false;

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
    this.#isClosed = true;
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
      if (this.#isClosed) throw new ConnectError("the transport is closed", Code.Canceled);
      const bounds: CallBounds = { signal, timeoutMs: remaining().timeoutMs };
      const attempt = this.#list.pick(tried) ?? (await this.#list.wait(tried, bounds));
      tried.push(attempt);
      try {
        const { transport } = await this.#checkedServer(attempt, bounds);
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
    if (signal?.aborted) return;
    const failure = serverFailure(error);
    const server = this.#servers.get(attempt.url);
    if (server && (isSilence(error) || (failure === "lost" && this.#options.checksFirst)))
      server.needsCheck = true;
    if (!failure) return;
    if (failure === "lost") attempt.failed(error);
    else attempt.refused();
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

  async #checkedServer(attempt: ServerAttempt, bounds: CallBounds): Promise<OpenServer> {
    const { check, checksFirst, open } = this.#options;
    const { url } = attempt;
    const server = this.#servers.get(url) ?? {
      transport: open(url),
      needsCheck: checksFirst,
      checking: undefined,
    };
    this.#servers.set(url, server);
    if (!server.needsCheck) return server;
    server.checking ??= check(server.transport)
      .then(
        () => {
          server.needsCheck = false;
        },
        (error: unknown) => {
          // Noted here, since the calls that wait may be over.
          attempt.failed(error);
          // A new error: other calls, which the server may have processed, fail with that of their connection too.
          const { rawMessage, code } = ConnectError.from(error, Code.Unavailable);
          throw markUnprocessed(new ConnectError(rawMessage, code, undefined, undefined, error));
        },
      )
      .finally(() => {
        server.checking = undefined;
      });
    await within(server.checking, bounds);
    return server;
  }
}

/** Whether a call ended at its deadline without a word of the server, which may be gone without a sign of it. */
const isSilence = (error: unknown): boolean =>
  error instanceof ConnectError && error.code === Code.DeadlineExceeded && [...error.metadata].length === 0;

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
