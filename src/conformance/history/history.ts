import { Code, ConnectError } from "@connectrpc/connect";

/** One call of one client and its outcome. Times count calls and returns, so that their order is exact. */
export interface RecordedOperation<I, O> {
  readonly client: number;
  readonly input: I;
  readonly calledAt: number;
  /** Infinity if it is not known whether the call took effect. */
  returnedAt: number;
  output: O | undefined;
}

/** Errors after which it is unknown whether the call took effect. */
const UNCERTAIN_CODES: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Canceled,
  Code.Unknown,
  Code.Internal,
]);

/** Whether a call that failed with `reason` may have taken effect. */
export const isUncertain = (reason: unknown): boolean => UNCERTAIN_CODES.has(ConnectError.from(reason).code);

/** The calls of concurrent clients, in the order in which they began. */
export class History<I, O> {
  readonly operations: RecordedOperation<I, O>[] = [];
  #events = 0;

  /** Makes a call and records it. Undefined if it is unknown whether the call took effect; throws other errors. */
  async call(client: number, input: I, run: () => Promise<O>): Promise<O | undefined> {
    const operation: RecordedOperation<I, O> = {
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

  /** The operations that are known to have taken effect. */
  get done(): (RecordedOperation<I, O> & { output: O })[] {
    return this.operations.filter((operation): operation is RecordedOperation<I, O> & { output: O } =>
      hasReturned(operation),
    );
  }
}

export const hasReturned = ({ returnedAt }: RecordedOperation<unknown, unknown>): boolean =>
  returnedAt < Number.POSITIVE_INFINITY;
