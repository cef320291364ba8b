import type { IncomingHttpHeaders } from "node:http2";

/**
 * Makes a malformed `grpc-message` decodable. gRPC asks clients to accept any: some servers do not encode "%", and
 * Connect would lose the status with the message.
 */
export function fixGrpcMessage(headers: IncomingHttpHeaders): void {
  const message = headers["grpc-message"];
  if (typeof message !== "string" || isDecodable(message)) return;
  const encoded = message.replace(/%(?![\da-f]{2})/gi, "%25");
  headers["grpc-message"] = isDecodable(encoded) ? encoded : message.replaceAll("%", "%25");
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
