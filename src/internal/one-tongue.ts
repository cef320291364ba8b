import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Reads what different servers and transports say of the same outcome as one: the code that the error table of this
 * project has for it. The Go runtime answers several outcomes as `unknown` or `internal` with a text, and Connect's
 * Node transport reports a lost connection as `aborted`, which is also the code of a conflict.
 */
export function inOneTongue(error: unknown): unknown {
  if (!(error instanceof ConnectError) || read.has(error)) return error;
  const code = meant(error);
  if (code === error.code) return error;
  const told = new ConnectError(error.rawMessage, code, error.metadata, undefined, error);
  told.details = error.details;
  read.add(told);
  return told;
}

/** What has been read so before: a call passes here more than once, and what an error became must not be read anew. */
const read = new WeakSet<ConnectError>();

function meant({ code, rawMessage, cause }: ConnectError): Code {
  switch (code) {
    case Code.Aborted:
      // What came over the wire has no cause; a broken socket is one.
      return cause === undefined ? code : Code.Unavailable;
    case Code.Canceled:
      // A call that its own caller gave up says so in other words: these are those of a socket that closed under it.
      return /stream closed with error code CANCEL/.test(rawMessage) ? Code.Unavailable : code;
    case Code.Unknown:
    case Code.Internal:
      if (/etag mismatch|etag does not match/i.test(rawMessage)) return Code.Aborted;
      if (
        /no such file|NoSuchKey|key does not exist|file does not exist|secret .+ not found/i.test(rawMessage)
      )
        return Code.NotFound;
      if (/don't support now|no instance found/i.test(rawMessage)) return Code.InvalidArgument;
      // A stream both ways over HTTP/1.1: the server's answer to what this connection cannot carry.
      if (rawMessage === "HTTP 505") return Code.Unimplemented;
      return LOST.test(rawMessage) ? Code.Unavailable : code;
    case Code.InvalidArgument:
      return LOST.test(rawMessage) ? Code.Unavailable : code;
    case Code.PermissionDenied:
      return /optimistic lock/i.test(rawMessage) ? Code.Aborted : code;
    case Code.FailedPrecondition:
      return /not (find )?configured/i.test(rawMessage) ? Code.InvalidArgument : code;
    default:
      return code;
  }
}

/** How Connect's protocols say that the connection ended before the answer did. */
const LOST =
  /missing (EndStreamResponse|trailer)|socket hang up|premature|session (closed|destroyed)|GOAWAY/i;
