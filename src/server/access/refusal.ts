import type { ConnectError } from "@connectrpc/connect";
import {
  createAsyncIterable,
  encodeEnvelope,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  endStreamFlag,
  endStreamToJson,
  errorToJson,
} from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";

/**
 * Makes a response with `error` in the protocol that the request's headers show: no byte of the body is read. The
 * metadata goes where that protocol has it, and into the HTTP headers.
 */
export function sendRefusal(
  { header }: Pick<UniversalServerRequest, "header">,
  error: ConnectError,
): UniversalServerResponse {
  const contentType = header.get("content-type") ?? "";
  const answer = (status: number, type: string, body: Uint8Array): UniversalServerResponse => {
    const headers = new Headers(error.metadata);
    headers.set("content-type", type);
    return { status, header: headers, body: createAsyncIterable([body]) };
  };
  if (/^application\/grpc-web(\+|;|$)/i.test(contentType)) {
    const trailer = new Headers(error.metadata);
    setTrailerStatus(trailer, error);
    return answer(200, contentType, encodeEnvelope(trailerFlag, trailerSerialize(trailer)));
  }
  if (/^application\/grpc(\+|;|$)/i.test(contentType)) {
    const trailer = new Headers(error.metadata);
    setTrailerStatus(trailer, error);
    return { ...answer(200, contentType, new Uint8Array()), body: createAsyncIterable([]), trailer };
  }
  if (/^application\/connect\+/i.test(contentType)) {
    const end = endStreamToJson(error.metadata, error, undefined);
    return answer(200, contentType, encodeEnvelope(endStreamFlag, utf8(JSON.stringify(end))));
  }
  const json = JSON.stringify(errorToJson(error, undefined));
  return answer(codeToHttpStatus(error.code), "application/json", utf8(json));
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
