import { Code, ConnectError } from "@connectrpc/connect";
import { onAbort } from "../../lib/on-abort.js";
import { hasLazySignal } from "./lazy-signal.js";

/** The ends of a call that it has to observe. */
export interface CallLimits {
  readonly signal: AbortSignal | undefined;
  /** The milliseconds after which the call has to end by itself; undefined: never, or its signal aborts by then. */
  readonly timeoutMs: number | undefined;
}

/**
 * The deadline of a call that has interceptors, and the signal that they see. The signal and its timer are created when
 * the signal is read: until then the call itself observes the caller's signal and the deadline.
 */
export class CallScope {
  readonly #callerSignal: AbortSignal | undefined;
  readonly #endsAtMs: number;
  #stopObserving: (() => void) | undefined;
  #controller: AbortController | undefined;
  /** Why the scope has ended; undefined: it has not. */
  #reason: unknown;

  constructor(callerSignal: AbortSignal | undefined, timeoutMs = Number.POSITIVE_INFINITY) {
    this.#callerSignal = callerSignal;
    this.#endsAtMs = performance.now() + timeoutMs;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#checkEnd()) this.#controller.abort(this.#reason);
      else this.#stopObserving = observe(this.#limits, (reason) => this.#end(reason));
    }
    return this.#controller.signal;
  }

  /** The milliseconds until the deadline; Infinity without one. */
  get remainingMs(): number {
    return this.#endsAtMs - performance.now();
  }

  /** The limits of the call that the innermost interceptor makes with `request`. */
  limitsOf(request: { readonly signal: AbortSignal }): CallLimits {
    const isUnread = !this.#checkEnd() && !this.#controller && hasLazySignal(request);
    if (isUnread) return this.#limits;
    const { signal } = request;
    return { signal, timeoutMs: signal === this.#controller?.signal ? undefined : this.remainingMs };
  }

  /** Awaits the response. The scope ends with it, or with its messages: also if their reader leaves before their end. */
  async run<R extends { readonly stream: boolean; readonly message: unknown }>(
    response: Promise<R>,
  ): Promise<R> {
    try {
      const result = await response;
      if (result.stream) {
        return { ...result, message: this.#wrapMessages(result.message as AsyncIterable<unknown>) };
      }
      this.#end();
      return result;
    } catch (error) {
      return this.#fail(error);
    }
  }

  #wrapMessages<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
    return {
      [Symbol.asyncIterator]: () => {
        const inner = messages[Symbol.asyncIterator]();
        return {
          next: () =>
            inner.next().then(
              (step) => {
                if (step.done) this.#end();
                return step;
              },
              (error) => this.#fail(error),
            ),
          return: async (value) => {
            this.#end(new ConnectError("the reader left", Code.Canceled));
            await inner.return?.(value);
            return { done: true, value: undefined };
          },
        };
      },
    };
  }

  get #limits(): CallLimits {
    return { signal: this.#callerSignal, timeoutMs: this.remainingMs };
  }

  /** Ends the scope after a failure, and throws its error; after an abort or the deadline, the reason of that. */
  #fail(error: unknown): never {
    if (this.#checkEnd()) throw ConnectError.from(this.#reason, Code.Canceled);
    this.#end(error);
    throw ConnectError.from(error);
  }

  /** Whether the scope has ended, by its caller or its deadline too. */
  #checkEnd(): boolean {
    if (this.#callerSignal?.aborted) this.#end(this.#callerSignal.reason);
    else if (this.remainingMs <= 0) this.#end(deadlineExceeded());
    return this.#reason !== undefined;
  }

  #end(reason: unknown = CALL_ENDED): void {
    this.#stopObserving?.();
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** Calls `abort` with the reason once a limit ends the call. Returns a function that stops that. */
export function observe({ signal, timeoutMs }: CallLimits, abort: (reason: unknown) => void): () => void {
  const stopListening = onAbort(signal, () => abort(signal?.reason));
  const timer = startDeadline(timeoutMs, () => abort(deadlineExceeded()));
  return () => {
    stopListening();
    clearTimeout(timer);
  };
}

/** The error of a call that has not ended by its deadline. */
export const deadlineExceeded = (): ConnectError =>
  new ConnectError("the operation timed out", Code.DeadlineExceeded);

/** The abort reason of calls that have ended. Shared, as a DOMException for each would cost more than the call. */
export const CALL_ENDED = new ConnectError("the call is over", Code.Canceled);

/** The longest delay of setTimeout(): after a longer one it runs its task at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Runs `task` after `timeoutMs`; never, if that is undefined or longer than a timer can wait. */
export const startDeadline = (
  timeoutMs = LONGEST_TIMER_MS,
  task: () => void,
): ReturnType<typeof setTimeout> | undefined =>
  timeoutMs < LONGEST_TIMER_MS ? setTimeout(task, timeoutMs) : undefined;
