import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { abortReasonOf } from "../../rpc/dispatch/lazy-signal.js";
import { SERVER_HEADER } from "../../rpc/extension-headers.js";
import type { Logger } from "../context.js";
import { EngineFault } from "../engine.js";
import { exhausted, storageFull, unavailable } from "../errors.js";
import { requestIdIn } from "./observe.js";

/** The version in `fairlead-server`, and of the package. */
export const VERSION = "0.1.0";

/** When a client may retry a call that failed because the engine was unavailable, in milliseconds. */
const RETRY_AFTER_MS = 500;

/**
 * Sets the server header on every response, and maps every failure to a code of the error table. An unexpected failure
 * becomes `internal` with the call's id and nothing else; the log has that id beside the cause.
 */
export function mapErrors(log: Logger): Interceptor {
  return (next) => async (request) => {
    const reqId = requestIdIn(request.contextValues);
    const mapError = (error: unknown): ConnectError => {
      const method = `${request.service.typeName}/${request.method.name}`;
      const answer = toAnswerError(error, abortReasonOf(request), { reqId, method }, log);
      answer.metadata.set(SERVER_HEADER, VERSION);
      // No protocol can encode text that was cut within a character.
      (answer as { rawMessage: string }).rawMessage = answer.rawMessage.replace(/\p{Surrogate}/gu, "\ufffd");
      return answer;
    };
    try {
      const response = await next(request);
      response.header.set(SERVER_HEADER, VERSION);
      if (!response.stream) return response;
      const { message } = response;
      const mapped = async function* () {
        try {
          yield* message;
        } catch (error) {
          throw mapError(error);
        }
      };
      return { ...response, message: mapped() };
    } catch (error) {
      throw mapError(error);
    }
  };
}

/** The error that answers a call that failed with `error`. `abortReason`: why the call was aborted, if it was. */
export function toAnswerError(
  error: unknown,
  abortReason: unknown,
  call: { reqId: string; method: string },
  log: Logger,
): ConnectError {
  // A failure after the call's own end, by its deadline or its client, is that end, whatever it looks like.
  if (abortReason instanceof ConnectError) return abortReason;
  // The connection failed during the response: the caller has left.
  if (abortReason !== undefined && error === abortReason) return ConnectError.from(error, Code.Canceled);
  if (error instanceof EngineFault) {
    if (error.limit) return exhausted(error.limit.name, error.limit.most, error.message);
    if (error.reason === "full") return storageFull(error.message);
    return unavailable(error.message, { retryAfterMs: RETRY_AFTER_MS });
  }
  if (error instanceof ConnectError) return error;
  log.error({ ...call, err: error }, "unexpected failure");
  return new ConnectError(`unexpected failure ${call.reqId}: the server's log tells more`, Code.Internal);
}
