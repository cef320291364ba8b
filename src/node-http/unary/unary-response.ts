import type { OutgoingHttpHeaders } from "node:http";
import type { JsonWriteOptions } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { type Compression, compressedFlag } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { encodeGrpcMessage } from "../../rpc/grpc-message.js";
import { LazyHeaders } from "../../rpc/lazy-headers.js";
import { sealEnvelope } from "./envelope.js";
import type { UnaryResponse } from "./exchange.js";
import type { MessageFormat } from "./message-format.js";

/** A response before it is encoded for its protocol. */
export interface UnaryResult {
  /** The message, or the error. */
  readonly message: Uint8Array | undefined;
  readonly error: ConnectError | undefined;
  /** Undefined if nobody set any. */
  readonly header: Headers | undefined;
  readonly trailer: Headers | undefined;
}

export interface ResponseEncoding {
  readonly format: MessageFormat;
  /** The compression that client and server agreed on, if any. */
  readonly compression: Compression | undefined;
  /** Smaller messages are not compressed. */
  readonly compressMinBytes: number;
  readonly jsonOptions: Partial<JsonWriteOptions> | undefined;
}

/** Encodes the response of a unary call. Only compressing takes time: without it the response is returned at once. */
export function encodeResponse(
  result: UnaryResult,
  encoding: ResponseEncoding,
): UnaryResponse | Promise<UnaryResponse> {
  return encoding.format.protocol === "connect"
    ? connectResponse(result, encoding)
    : grpcResponse(result, encoding);
}

/** Connect: the message or the error as JSON is the body; trailers are headers with a prefix. */
function connectResponse(
  { message, error, header, trailer }: UnaryResult,
  { format, compression, compressMinBytes, jsonOptions }: ResponseEncoding,
): UnaryResponse | Promise<UnaryResponse> {
  const headers: OutgoingHttpHeaders = { "content-type": error ? contentTypeUnaryJson : format.responseType };
  addHeaders(headers, header);
  if (error) {
    addHeaders(headers, error.metadata);
    headers["content-type"] = contentTypeUnaryJson;
  }
  addHeaders(headers, trailer, "trailer-");
  const body = message ?? errorToJsonBytes(error as ConnectError, jsonOptions);
  const status = error ? codeToHttpStatus(error.code) : 200;
  const respond = (bytes: Uint8Array): UnaryResponse => {
    headers["content-length"] = bytes.length;
    return { status, headers, body: bytes, trailers: undefined };
  };
  if (!compression || body.length < compressMinBytes) return respond(body);
  return compression.compress(body).then((compressed) => {
    headers["content-encoding"] = compression.name;
    return respond(compressed);
  });
}

/** gRPC: the message in an envelope, and the status in the trailers, which are the end of the body in gRPC-Web. */
function grpcResponse(
  result: UnaryResult,
  { format, compression, compressMinBytes }: ResponseEncoding,
): UnaryResponse | Promise<UnaryResponse> {
  const { message, header } = result;
  const headers: OutgoingHttpHeaders = { "content-type": format.responseType };
  if (compression) headers["grpc-encoding"] = compression.name;
  addHeaders(headers, header);
  const respond = (bytes: Uint8Array | undefined, flags: number): UnaryResponse => {
    if (format.protocol === "grpc") {
      const body = bytes && sealEnvelope(flags, bytes);
      return { status: 200, headers, body, trailers: grpcTrailers(result) };
    }
    const end = sealEnvelope(trailerFlag, trailerSerialize(new Headers(grpcTrailers(result) as HeadersInit)));
    return { status: 200, headers, body: bytes ? sealEnvelope(flags, bytes, end) : end, trailers: undefined };
  };
  if (!message || !compression || message.length < compressMinBytes) return respond(message, 0);
  return compression.compress(message).then((compressed) => respond(compressed, compressedFlag));
}

const OK = { "grpc-status": "0" };

function grpcTrailers({ error, trailer }: UnaryResult): OutgoingHttpHeaders {
  if (!error && !trailer) return { ...OK };
  if (!error) {
    const trailers: OutgoingHttpHeaders = { ...OK };
    addHeaders(trailers, trailer);
    return trailers;
  }
  const { code, rawMessage, metadata, details } = error;
  const message = wellFormed(rawMessage);
  const encodable =
    message === rawMessage ? error : new ConnectError(message, code, metadata, details as never);
  const status = setTrailerStatus(new Headers(trailer), encodable);
  const trailers: OutgoingHttpHeaders = {};
  addHeaders(trailers, status);
  trailers["grpc-message"] = encodeGrpcMessage(message);
  return trailers;
}

/** `text` with U+FFFD for each half of a surrogate pair, which encodeURIComponent() refuses. */
const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\ufffd");

/**
 * Headers about a connection, which the server itself sets. HTTP/2 forbids them, and those of a handler, or of the
 * error of a server that it has called, are about another connection.
 */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** Adds `added` to `headers`, in the place of those of the same name. */
function addHeaders(headers: OutgoingHttpHeaders, added: Headers | undefined, prefix = ""): void {
  if (!added) return;
  LazyHeaders.each(added, (name, value) => {
    if (CONNECTION_HEADERS.has(name)) return;
    headers[prefix + name] = name === "set-cookie" ? added.getSetCookie() : value;
  });
}
