import { Code, ConnectError } from "@connectrpc/connect";

/** The deadline of a call, and the signal that its interceptors and its request have: created when it is read. */
export class CallScope {
  readonly #signal: AbortSignal | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #controller: AbortController | undefined;
  #isAborted = false;
  #reason: unknown;

  constructor(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
    this.#signal = signal;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort);
    this.#timer = startDeadline(timeoutMs, () => this.#abortWith(deadlineExceeded()));
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Awaits the response. If it fails, or is the whole response (`isComplete`), the scope ends. */
  async run<T>(response: Promise<T>, isComplete: boolean): Promise<T> {
    try {
      const result = await response;
      if (isComplete) this.#end();
      return result;
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** `messages`, with which the scope ends: also if the reader leaves before their end. */
  wrapMessages<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
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

  /** Ends the scope after a failure, and throws its error: the signal's reason if that has aborted. */
  #fail(error: unknown): never {
    const wasAborted = this.#isAborted;
    this.#end(error);
    throw wasAborted ? ConnectError.from(this.#reason, Code.Canceled) : ConnectError.from(error);
  }

  readonly #abort = (): void => {
    this.#abortWith(this.#signal?.reason);
    this.#end();
  };

  #end(reason: unknown = CALL_ENDED): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#abortWith(reason);
  }

  #abortWith(reason: unknown): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** The error of a call that has not ended by its deadline. */
export const deadlineExceeded = (): ConnectError =>
  new ConnectError("the operation timed out", Code.DeadlineExceeded);

/** The abort reason of calls that have ended. Shared, as a DOMException for each would cost more than the call. */
export const CALL_ENDED = new ConnectError("the call is over", Code.Canceled);

/** The delay from which on setTimeout() runs its task at once. */
const LONGEST_TIMER_MS = 2 ** 31;

/** Runs `task` after `timeoutMs`; never, if that is undefined or longer than a timer can wait. */
export const startDeadline = (
  timeoutMs: number | undefined,
  task: () => void,
): ReturnType<typeof setTimeout> | undefined =>
  timeoutMs !== undefined && timeoutMs < LONGEST_TIMER_MS ? setTimeout(task, timeoutMs) : undefined;
