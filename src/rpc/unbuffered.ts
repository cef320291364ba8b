import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

/** Tells nginx, and those who took that over from it, to pass each message of a stream on as it comes. */
export function withoutProxyBuffering(
  answer: UniversalServerResponse,
  { methodKind }: { methodKind: string },
): UniversalServerResponse {
  if (methodKind !== "unary") answer.header?.set("x-accel-buffering", "no");
  return answer;
}
