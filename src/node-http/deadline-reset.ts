import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** How much the timers of two machines may differ, in milliseconds. */
const SLACK_MS = 5;

/**
 * Maps the reset of a stream at the call's deadline to `deadline_exceeded`. gRPC's servers reset it with CANCEL when
 * their own timer ends, possibly before the timer here. Without this it would look like a lost connection.
 */
export const deadlineReset: Interceptor = (next) => async (request) => {
  const timeoutMs = timeoutOf(request.header);
  if (timeoutMs === undefined) return next(request);
  const startMs = performance.now();
  const mapError = (error: unknown): unknown => {
    const isAtDeadline = performance.now() - startMs >= timeoutMs - SLACK_MS;
    if (!isAtDeadline || !isReset(error)) return error;
    return new ConnectError("the deadline has passed", Code.DeadlineExceeded, undefined, undefined, error);
  };
  try {
    const response = await next(request);
    if (!response.stream) return response;
    return { ...response, message: withMappedErrors(response.message, mapError) };
  } catch (error) {
    throw mapError(error);
  }
};

/** Not a generator: its return() would wait for its next(). */
function withMappedErrors<T>(
  messages: AsyncIterable<T>,
  mapError: (error: unknown) => unknown,
): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      const rethrow = (error: unknown): never => {
        throw mapError(error);
      };
      return {
        next: () => inner.next().catch(rethrow),
        ...(inner.return && {
          return: (value?: unknown) => inner.return?.(value) as Promise<IteratorResult<T>>,
        }),
      };
    },
  };
}

const isReset = (error: unknown): boolean =>
  error instanceof ConnectError &&
  /stream closed with error code CANCEL|HTTP\/2 error code 8$/.test(error.rawMessage);

/** The milliseconds of each unit that `grpc-timeout` may have. */
const UNITS_MS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000001 };

/** The call's timeout in milliseconds, from its headers. */
function timeoutOf(header: Headers): number | undefined {
  const [, digits, unit = ""] = /^(\d+)([HMSmun])$/.exec(header.get("grpc-timeout") ?? "") ?? [];
  if (digits !== undefined) return Number(digits) * (UNITS_MS[unit] ?? 1);
  const connect = header.get("connect-timeout-ms");
  return connect === null ? undefined : Number(connect);
}
