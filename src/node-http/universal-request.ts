import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";

/**
 * Converts a request for Connect's handlers. Connect's own `universalRequestFromNodeRequest` costs more: it makes two
 * URLs, a generator around the body and an error with a stack for each request. Returns undefined if the host is
 * malformed.
 */
export function toUniversalRequest(
  request: Http2ServerRequest,
  response: Http2ServerResponse,
): UniversalServerRequest | undefined {
  const { httpVersion, httpVersionMajor, method, url, headers, socket } = request;
  const host = (httpVersionMajor === 2 ? request.authority : headers.host) ?? "";
  if (!URL.canParse(`http://${host}`)) return undefined;
  const scheme = "encrypted" in socket && socket.encrypted ? "https" : "http";
  return {
    httpVersion,
    method,
    url: `${scheme}://${host}${url}`,
    header: headersOf(request),
    // A reader that leaves must not end the request before it is answered: over HTTP/1.1 that ends the connection.
    body: request.iterator({ destroyOnReturn: false }),
    signal: signalOf(request, response),
  };
}

function headersOf({ headers }: Http2ServerRequest): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    // HTTP/2 has the method, the path and the like among them.
    if (value === undefined || name.startsWith(":")) continue;
    if (typeof value === "string") all.append(name, value);
    else for (const each of value) all.append(name, each);
  }
  return all;
}

/** The abort reason of a call that has ended. It is cheaper than the default error. */
const ENDED = "the call is over";

/** Aborts when the call has ended, with a ConnectError if the client or the connection ended it. */
function signalOf(request: Http2ServerRequest, response: Http2ServerResponse): AbortSignal {
  const ended = new AbortController();
  if (request.httpVersionMajor === 2) {
    const { stream } = request;
    request.once("close", () => {
      ended.abort(resetError(stream.rstCode) ?? (response.writableEnded ? ENDED : undefined));
    });
    return ended.signal;
  }
  request.once("error", (error) =>
    ended.abort(new ConnectError(error.message, Code.Aborted, undefined, undefined, error)),
  );
  // The request closes as soon as it is read; the response when it is sent, or cannot be sent.
  response.once("close", () => ended.abort(response.writableEnded ? ENDED : undefined));
  return ended.signal;
}

/** The code for each HTTP/2 error code of a reset, by gRPC's table. All others are errors of the connection. */
const RESETS: Record<number, Code> = {
  [constants.NGHTTP2_REFUSED_STREAM]: Code.Unavailable,
  [constants.NGHTTP2_CANCEL]: Code.Canceled,
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: Code.ResourceExhausted,
  [constants.NGHTTP2_INADEQUATE_SECURITY]: Code.PermissionDenied,
  [constants.NGHTTP2_HTTP_1_1_REQUIRED]: Code.PermissionDenied,
};

function resetError(code: number): ConnectError | undefined {
  if (code === constants.NGHTTP2_NO_ERROR || code === constants.NGHTTP2_STREAM_CLOSED) return undefined;
  return new ConnectError(`the stream was reset, HTTP/2 error code ${code}`, RESETS[code] ?? Code.Internal);
}
