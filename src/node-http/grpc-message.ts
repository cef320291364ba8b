import type { IncomingHttpHeaders } from "node:http2";

/**
 * Makes a `grpc-message` that is not well encoded one that Connect can decode. gRPC asks clients to take whatever comes:
 * some servers leave "%" as it is, and Connect would lose the status with the message.
 */
export function fixGrpcMessage(headers: IncomingHttpHeaders): void {
  const message = headers["grpc-message"];
  if (typeof message !== "string" || isDecodable(message)) return;
  const mended = message.replace(/%(?![\da-f]{2})/gi, "%25");
  headers["grpc-message"] = isDecodable(mended) ? mended : message.replaceAll("%", "%25");
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
