import { ConnectError } from "@connectrpc/connect";

/** A copy of an error that other calls fail with too, for one call: what is noted on it holds for that one only. */
export function ownError({ rawMessage, code, metadata, details, cause }: ConnectError): ConnectError {
  const own = new ConnectError(rawMessage, code, metadata, undefined, cause);
  own.details = details;
  return own;
}
