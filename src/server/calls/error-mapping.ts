import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import type { Log } from "../context.js";
import { EngineFault } from "../engine.js";
import { exhausted, unavailable } from "../errors.js";
import { requestIdIn } from "./observe.js";

/** The version in `fairlead-server`, and of the package. */
export const VERSION = "0.1.0";

/** When a client may try again what failed because the engine was away. */
const RETRY_AFTER_MS = 500;

/**
 * Gives every answer the server's mark, and every failure one of the codes of the error table: what nobody foresaw
 * becomes `internal` with the call's id, which stands in the log beside its cause, and tells a client nothing else.
 */
export function mapErrors(log: Log): Interceptor {
  return (next) => async (request) => {
    const reqId = requestIdIn(request.contextValues);
    const failed = (error: unknown): ConnectError => {
      const method = `${request.service.typeName}/${request.method.name}`;
      const answer = toAnswerError(error, request.signal, { reqId, method }, log);
      answer.metadata.set(SERVER_HEADER, VERSION);
      // Text that was cut within a character can be encoded by no protocol.
      (answer as { rawMessage: string }).rawMessage = answer.rawMessage.replace(/\p{Surrogate}/gu, "\ufffd");
      return answer;
    };
    try {
      const response = await next(request);
      response.header.set(SERVER_HEADER, VERSION);
      if (!response.stream) return response;
      const { message } = response;
      const told = async function* () {
        try {
          yield* message;
        } catch (error) {
          throw failed(error);
        }
      };
      return { ...response, message: told() };
    } catch (error) {
      throw failed(error);
    }
  };
}

/** What a call that failed with `error` is answered. */
export function toAnswerError(
  error: unknown,
  signal: AbortSignal,
  call: { reqId: string; method: string },
  log: Log,
): ConnectError {
  // What a call's own end broke off is that end, however it shows: past its deadline, or given up by the client.
  if (signal.aborted && signal.reason instanceof ConnectError) return signal.reason;
  // Not even Connect: what the connection failed with under the answer is that its caller has left.
  if (signal.aborted && error === signal.reason) return ConnectError.from(error, Code.Canceled);
  if (error instanceof EngineFault) {
    if (error.limit) return exhausted(error.limit.name, error.limit.most, error.message);
    return unavailable(error.message, { retryAfterMs: RETRY_AFTER_MS });
  }
  if (error instanceof ConnectError) return error;
  log.error({ ...call, err: error }, "unexpected failure");
  return new ConnectError(`unexpected failure ${call.reqId}: the server's log tells more`, Code.Internal);
}
