import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

/** Adds the header by which nginx, and proxies with the same convention, forward each message of a stream at once. */
export function withoutProxyBuffering(
  answer: UniversalServerResponse,
  { methodKind }: { methodKind: string },
): UniversalServerResponse {
  if (methodKind !== "unary") answer.header?.set("x-accel-buffering", "no");
  return answer;
}
