import { Code, ConnectError } from "@connectrpc/connect";
import { SERVER_HEADER } from "./extension-headers.js";
import { foreignCode } from "./foreign-errors.js";

/** Maps the ways in which Connect's transports report a lost connection, and HTTP's own errors, to their codes. */
export function lostConnection(error: unknown): unknown {
  if (!isForeign(error)) return error;
  if (isLost(error)) return withCode(error, Code.Unavailable);
  return error.code === Code.Unknown ? withCode(error, HTTP_CODES[error.rawMessage] ?? error.code) : error;
}

/** Maps lost connections, and other servers' codes, to those of this project's error table. */
export function foreignError(error: unknown): unknown {
  const found = lostConnection(error);
  return found === error && isForeign(error) ? withCode(error, foreignCode(error)) : found;
}

/** What was mapped already: a call passes here more than once, and its new code must not be mapped again. */
const mapped = new WeakSet<ConnectError>();

/** Texts are only looked at where the answer is not one of a Fairlead server: there they may be an app's own words. */
const isForeign = (error: unknown): error is ConnectError =>
  error instanceof ConnectError && !mapped.has(error) && !error.metadata.has(SERVER_HEADER);

function isLost({ code, rawMessage, cause, metadata }: ConnectError): boolean {
  switch (code) {
    case Code.Aborted:
      // What came over the wire has no cause; a broken socket is one.
      return cause !== undefined;
    case Code.Canceled:
      // A call that its own caller gave up says so in other words: these are those of a socket that closed under it.
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

/** A gRPC-Web stream that ends without trailers is `internal`; a unary answer without them is malformed, and `unknown`. */
const isCutStream = (code: Code, text: string): boolean =>
  code === Code.Internal && /missing trailer$/.test(text);

/** How Connect's protocols say that the connection ended before the answer did. */
const LOST =
  /missing (EndStreamResponse|status)|promised \d+ bytes, received|socket hang up|premature (close|end)|session (closed|destroyed)|GOAWAY/i;

function withCode(error: ConnectError, code: Code): ConnectError {
  if (code === error.code) return error;
  const told = new ConnectError(error.rawMessage, code, error.metadata, undefined, error);
  told.details = error.details;
  mapped.add(told);
  return told;
}

/** The code for HTTP statuses that Connect knows nothing of: those of proxies in front of the server, and of Node. */
const HTTP_CODES: Readonly<Record<string, Code>> = {
  "HTTP 408": Code.Unavailable,
  "HTTP 413": Code.ResourceExhausted,
  "HTTP 414": Code.ResourceExhausted,
  "HTTP 431": Code.ResourceExhausted,
  // A stream both ways over HTTP/1.1: the server's answer to what this connection cannot carry.
  "HTTP 505": Code.Unimplemented,
};
