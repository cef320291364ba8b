import { Code, type ConnectError } from "@connectrpc/connect";

/**
 * The code of the error table for an error of another server. The Go runtime answers several outcomes as `unknown` or
 * `internal`, which only differ in their text; Atomix answers a conflict as `permission_denied`.
 */
export function foreignCode({ code, rawMessage }: ConnectError): Code {
  switch (code) {
    case Code.Unknown:
    case Code.Internal:
      if (/etag mismatch|etag does not match/i.test(rawMessage)) return Code.Aborted;
      if (
        /no such file|NoSuchKey|key does not exist|file does not exist|secret .+ not found/i.test(rawMessage)
      )
        return Code.NotFound;
      if (/don't support now|no instance found/i.test(rawMessage)) return Code.InvalidArgument;
      return code;
    case Code.PermissionDenied:
      return /optimistic lock/i.test(rawMessage) ? Code.Aborted : code;
    case Code.FailedPrecondition:
      return /not (find )?configured/i.test(rawMessage) ? Code.InvalidArgument : code;
    default:
      return code;
  }
}
