import { Code, ConnectError } from "@connectrpc/connect";

/** What one client asked for, and what it was told. Times count calls and returns, so that their order is exact. */
export interface Operation<I, O> {
  readonly client: number;
  readonly input: I;
  readonly calledAt: number;
  /** Infinity where it is not known whether it was done, nor when. */
  returnedAt: number;
  output: O | undefined;
}

/** Errors that leave open whether a call was done. */
const UNCERTAIN_CODES: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unknown,
  Code.Internal,
]);

/** Whether a call that failed so may have been done. */
export const isUncertain = (reason: unknown): boolean => UNCERTAIN_CODES.has(ConnectError.from(reason).code);

/** What concurrent clients did, in the order of its calls. */
export class History<I, O> {
  readonly operations: Operation<I, O>[] = [];
  #events = 0;

  /** Makes a call and writes it down. Undefined where nobody knows whether it was done; other errors are thrown. */
  async call(client: number, input: I, run: () => Promise<O>): Promise<O | undefined> {
    const operation: Operation<I, O> = {
      client,
      input,
      calledAt: this.#events++,
      returnedAt: Number.POSITIVE_INFINITY,
      output: undefined,
    };
    this.operations.push(operation);
    try {
      operation.output = await run();
    } catch (reason) {
      if (isUncertain(reason)) return undefined;
      throw reason;
    }
    operation.returnedAt = this.#events++;
    return operation.output;
  }

  /** Those that are known to have been done. */
  get done(): (Operation<I, O> & { output: O })[] {
    return this.operations.filter((each): each is Operation<I, O> & { output: O } => isDone(each));
  }
}

export const isDone = ({ returnedAt }: Operation<unknown, unknown>): boolean =>
  returnedAt < Number.POSITIVE_INFINITY;
