import { Code, ConnectError } from "@connectrpc/connect";
import { SERVER_HEADER } from "./extension-headers.js";
import { foreignCode } from "./foreign-errors.js";

/** Maps the ways in which Connect's transports report a lost connection, and HTTP's own errors, to their codes. */
export function lostConnection(error: unknown): unknown {
  if (!isForeign(error)) return error;
  if (isLost(error)) return withCode(error, Code.Unavailable);
  return error.code === Code.Unknown ? withCode(error, HTTP_CODES[error.rawMessage] ?? error.code) : error;
}

/** Maps errors of lost connections and of other servers to the codes of the error table. */
export function foreignError(error: unknown): unknown {
  const result = lostConnection(error);
  return result === error && isForeign(error) ? withCode(error, foreignCode(error)) : result;
}

/** Errors that were mapped. An error may come here more than once, and its new code must not be mapped again. */
const mapped = new WeakSet<ConnectError>();

/** Whether the error is not from a Fairlead server, whose texts may be those of an app. */
const isForeign = (error: unknown): error is ConnectError =>
  error instanceof ConnectError && !mapped.has(error) && !error.metadata.has(SERVER_HEADER);

function isLost({ code, rawMessage, cause, metadata }: ConnectError): boolean {
  switch (code) {
    case Code.Aborted:
      // An error that came over the wire has no cause; that of a broken socket has one.
      return cause !== undefined;
    case Code.Canceled:
      // The text for a socket that was closed during the call. A call that its caller aborted has another one.
      return /stream closed with error code CANCEL/.test(rawMessage);
    case Code.Unknown:
    case Code.Internal:
    case Code.InvalidArgument:
      // An error that came over the wire has the headers of its answer.
      return [...metadata].length === 0 && (LOST.test(rawMessage) || isCutStream(code, rawMessage));
    default:
      return false;
  }
}

/** Whether a gRPC-Web stream ended without trailers. A unary answer without them is malformed, and `unknown`. */
const isCutStream = (code: Code, text: string): boolean =>
  code === Code.Internal && /missing trailer$/.test(text);

/** The texts by which Connect's protocols report that the connection ended before the answer. */
const LOST = new RegExp(
  "missing (EndStreamResponse|status)|promised \\d+ bytes, received|socket hang up|write EPIPE|" +
    "premature (close|end)|session (closed|destroyed)|GOAWAY",
  "i",
);

function withCode(error: ConnectError, code: Code): ConnectError {
  if (code === error.code) return error;
  const result = new ConnectError(error.rawMessage, code, error.metadata, undefined, error);
  result.details = error.details;
  mapped.add(result);
  return result;
}

/** The codes for HTTP statuses of proxies and of Node's HTTP server that Connect answers as `unknown`. */
const HTTP_CODES: Readonly<Record<string, Code>> = {
  "HTTP 408": Code.Unavailable,
  "HTTP 413": Code.ResourceExhausted,
  "HTTP 414": Code.ResourceExhausted,
  "HTTP 431": Code.ResourceExhausted,
  // The server's answer to a bidirectional stream over HTTP/1.1.
  "HTTP 505": Code.Unimplemented,
};
