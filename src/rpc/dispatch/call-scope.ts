import { Code, ConnectError } from "@connectrpc/connect";

/** The time that a call has, and the signal that its interceptors and its request see. */
export class CallScope {
  readonly #controller = new AbortController();
  readonly #signal: AbortSignal | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
    this.#signal = signal;
    if (signal?.aborted) this.#abort();
    else signal?.addEventListener("abort", this.#abort);
    this.#timer = startDeadline(timeoutMs, () => this.#controller.abort(deadlineExceeded()));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The outcome of the call, which ends the scope if it fails, or if that is `all`. */
  async run<T>(outcome: Promise<T>, all: boolean): Promise<T> {
    try {
      const result = await outcome;
      if (all) this.#end();
      return result;
    } catch (error) {
      const { aborted, reason } = this.signal;
      this.#end(error);
      throw aborted ? ConnectError.from(reason, Code.Canceled) : ConnectError.from(error);
    }
  }

  /** Messages with whose end the scope ends, also where the reader leaves. */
  wrapMessages<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
    return {
      [Symbol.asyncIterator]: () => {
        const inner = messages[Symbol.asyncIterator]();
        const leave = (): IteratorResult<T> => {
          this.#end(new ConnectError("the reader left", Code.Canceled));
          return { done: true, value: undefined };
        };
        return {
          next: () =>
            inner.next().then(
              (step) => {
                if (step.done) this.#end();
                return step;
              },
              (error) => {
                const { aborted, reason } = this.signal;
                this.#end(error);
                throw aborted ? ConnectError.from(reason, Code.Canceled) : ConnectError.from(error);
              },
            ),
          return: async (value) => {
            const over = leave();
            await inner.return?.(value);
            return over;
          },
        };
      },
    };
  }

  readonly #abort = (): void => {
    this.#controller.abort(this.#signal?.reason);
    this.#end();
  };

  #end(reason: unknown = OVER): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#abort);
    if (!this.signal.aborted) this.#controller.abort(reason);
  }
}

/** What a call fails with that took too long. */
export const deadlineExceeded = (): ConnectError =>
  new ConnectError("the operation timed out", Code.DeadlineExceeded);

/** Why the signal of a call aborts that has ended: one for all, as each has one. */
const OVER = new ConnectError("the call is over", Code.Canceled);

/** Longer ones are never waited for: setTimeout would take them for none. */
const LONGEST_TIMER_MS = 2 ** 31;

/** Runs `task` in so many milliseconds; never, where that is undefined or weeks away. */
export const startDeadline = (
  timeoutMs: number | undefined,
  task: () => void,
): ReturnType<typeof setTimeout> | undefined =>
  timeoutMs !== undefined && timeoutMs < LONGEST_TIMER_MS ? setTimeout(task, timeoutMs) : undefined;
