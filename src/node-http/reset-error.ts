import { constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";

/** The code of each HTTP/2 error code, by gRPC's own table; every other one is a fault of the connection. */
const CODES: Record<number, Code> = {
  [constants.NGHTTP2_REFUSED_STREAM]: Code.Unavailable,
  [constants.NGHTTP2_CANCEL]: Code.Canceled,
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: Code.ResourceExhausted,
  [constants.NGHTTP2_INADEQUATE_SECURITY]: Code.PermissionDenied,
  [constants.NGHTTP2_HTTP_1_1_REQUIRED]: Code.PermissionDenied,
};

/** The error of a stream that its client reset with `code`; undefined if it ended without an error. */
export function resetError(code: number): ConnectError | undefined {
  if (code === constants.NGHTTP2_NO_ERROR || code === constants.NGHTTP2_STREAM_CLOSED) return undefined;
  return new ConnectError(`the stream was reset, HTTP/2 error code ${code}`, CODES[code] ?? Code.Internal);
}
