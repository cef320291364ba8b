import { Code } from "@connectrpc/connect";

/** The code for an HTTP error of a binding's target or of a service. It is not about the call itself. */
export function codeOfStatus(status: number): Code {
  const code = CODES.get(status);
  if (code !== undefined) return code;
  if (status < 400) return Code.FailedPrecondition;
  return status < 500 ? Code.InvalidArgument : Code.Internal;
}

const CODES = new Map<number, Code>([
  // Not `unauthenticated`: the target refused the server's credentials, not the caller's token.
  [401, Code.PermissionDenied],
  [403, Code.PermissionDenied],
  [404, Code.NotFound],
  [408, Code.Unavailable],
  [409, Code.Aborted],
  [410, Code.NotFound],
  [412, Code.Aborted],
  [413, Code.ResourceExhausted],
  [425, Code.Unavailable],
  [429, Code.ResourceExhausted],
  [501, Code.Unimplemented],
  [502, Code.Unavailable],
  [503, Code.Unavailable],
  [504, Code.Unavailable],
]);
