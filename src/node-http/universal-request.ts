import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";

/**
 * The request as Connect's handlers take it: what its own `universalRequestFromNodeRequest` makes, without the two URLs,
 * the generator around the body and the stack of an abort error that it makes for each. undefined where the host is none.
 */
export function nodeCall(
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
    // A reader that leaves does not end the request by it, and over HTTP/1.1 the connection, before it is answered.
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

/** Why a signal aborts whose call has come to its end. Cheaper than the error that it has by default. */
const OVER = "the call is over";

/** Aborts when the call is over, with a ConnectError where the client or the connection ended it. */
function signalOf(request: Http2ServerRequest, response: Http2ServerResponse): AbortSignal {
  const over = new AbortController();
  if (request.httpVersionMajor === 2) {
    const { stream } = request;
    request.once("close", () => {
      over.abort(resetError(stream.rstCode) ?? (response.writableEnded ? OVER : undefined));
    });
    return over.signal;
  }
  request.once("error", (error) =>
    over.abort(new ConnectError(error.message, Code.Aborted, undefined, undefined, error)),
  );
  // The request closes as soon as it is read, the response when it is sent, or cannot be.
  response.once("close", () => over.abort(response.writableEnded ? OVER : undefined));
  return over.signal;
}

/** What a stream of HTTP/2 was reset for, by gRPC's own table; every other code is a fault of the connection. */
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
