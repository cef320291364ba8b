import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";
import { utf8 } from "../../lib/utf8.js";
import type { RawHeaders } from "../../rpc/lazy-headers.js";
import { hasMalformedQuery } from "../../rpc/malformed-query.js";
import type { UnaryResponse } from "./exchange.js";
import { CONNECT_BINARY, CONNECT_JSON, formatOf, type MessageFormat } from "./message-format.js";
import type { BodyLimits } from "./request-body.js";
import type { HandledMethod, UnaryHandlerState } from "./unary-handler.js";
import { encodeResponse, type ResponseEncoding, type UnaryResult } from "./unary-response.js";

/** The request of which only the headers have arrived. */
export interface RequestHead {
  readonly httpVersion: "1.1" | "2.0";
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: RawHeaders;
}

/** How one call is answered: its method, and how its request and its response are encoded. */
export class UnaryRoute implements BodyLimits {
  readonly handler: UnaryHandlerState;
  readonly method: HandledMethod;
  readonly format: MessageFormat;
  readonly requestCompression: Compression | undefined;
  readonly encoding: ResponseEncoding;
  readonly timeoutMs: number | undefined;
  /** The message of a GET, which is in its URL. */
  readonly urlMessage: Uint8Array | undefined;
  /** Changes the headers of the response before it is sent. */
  finish: ((response: UnaryResponse) => void) | undefined;

  constructor(
    handler: UnaryHandlerState,
    method: HandledMethod,
    { format, request, response, timeoutMs, urlMessage }: RequestTerms,
  ) {
    this.handler = handler;
    this.method = method;
    this.format = format;
    this.requestCompression = request;
    this.timeoutMs = timeoutMs;
    this.urlMessage = urlMessage;
    const { compressMinBytes, jsonOptions } = method;
    this.encoding = { format, compression: response, compressMinBytes, jsonOptions };
  }

  get isEnveloped(): boolean {
    return this.format.isEnveloped;
  }

  get checkMessage(): BodyLimits["checkMessage"] {
    return this.handler.checkMessage;
  }

  /** The message in `bytes`. Throws a ConnectError if they are none. */
  parse(bytes: Uint8Array): unknown {
    const { input } = this.method.served.spec.method;
    if (!this.format.isBinary) return this.method.serialization.getI(false).parse(bytes);
    try {
      return fromBinary(input, bytes);
    } catch (error) {
      throw this.handler.malformed(input as DescMessage, bytes, error);
    }
  }

  encode(result: UnaryResult): UnaryResponse | Promise<UnaryResponse> {
    return encodeResponse(result, this.encoding);
  }
}

/** The format of a request, and of the response that its client accepts. */
interface RequestTerms {
  readonly format: MessageFormat;
  readonly request: Compression | undefined;
  readonly response: Compression | undefined;
  readonly timeoutMs: number | undefined;
  readonly urlMessage: Uint8Array | undefined;
}

/**
 * The terms of a request; undefined if it is not one that the fast path answers, whatever is wrong with it: Connect's
 * own handlers know how to refuse it.
 */
export function termsOf(
  { httpVersion, method, url, headers }: RequestHead,
  handler: UnaryHandlerState,
  maxTimeoutMs: number,
): RequestTerms | undefined {
  if (method === "GET")
    return headers["content-type"] === undefined
      ? termsOfGet(url, headers, handler, maxTimeoutMs)
      : undefined;
  if (method !== "POST") return undefined;
  const format = formatOf(one(headers["content-type"]));
  // Node sends no trailers over HTTP/1.1 without being asked to.
  if (!format || (format.protocol === "grpc" && httpVersion === "1.1")) return undefined;
  return negotiate(format, headers[format.encodingHeader], headers, handler, maxTimeoutMs);
}

function termsOfGet(url: string, headers: RawHeaders, handler: UnaryHandlerState, maxTimeoutMs: number) {
  const at = url.indexOf("?");
  if (at < 0) return undefined;
  if (hasMalformedQuery(url)) return undefined;
  const query = new URLSearchParams(url.slice(at));
  const encoding = query.get("encoding");
  const format = encoding === "proto" ? CONNECT_BINARY : encoding === "json" ? CONNECT_JSON : undefined;
  if (!format) return undefined;
  const terms = negotiate(format, query.get("compression") ?? undefined, headers, handler, maxTimeoutMs);
  if (!terms) return undefined;
  try {
    const text = query.get("message") ?? "";
    const urlMessage = query.get("base64") === "1" ? base64Decode(text) : utf8(text);
    return { ...terms, urlMessage };
  } catch {
    return undefined;
  }
}

function negotiate(
  format: MessageFormat,
  requested: string | string[] | undefined,
  headers: RawHeaders,
  { compressions }: UnaryHandlerState,
  maxTimeoutMs: number,
): RequestTerms | undefined {
  const accepted = headers[format.acceptHeader];
  const timeout = headers[format.timeoutHeader];
  let request: Compression | undefined;
  if (requested !== undefined && requested !== "identity") {
    request = compressions.find(({ name }) => name === requested);
    if (!request) return undefined;
  }
  let timeoutMs: number | undefined;
  if (timeout !== undefined) {
    const parse = format.protocol === "connect" ? parseConnectTimeout : parseGrpcTimeout;
    const parsed = parse(one(timeout) as string, Math.min(maxTimeoutMs, Number.MAX_SAFE_INTEGER));
    if (parsed.error) return undefined;
    timeoutMs = parsed.timeoutMs;
  }
  const response = accepted === undefined ? request : firstAccepted(one(accepted) ?? "", compressions);
  return { format, request, response, timeoutMs, urlMessage: undefined };
}

/** The first compression of the client's list that is ours too. */
function firstAccepted(accepted: string, compressions: readonly Compression[]): Compression | undefined {
  for (const part of accepted.split(",")) {
    const found = compressions.find(({ name }) => name === part.trim());
    if (found) return found;
  }
  return undefined;
}

const one = (value: string | string[] | undefined): string | undefined =>
  typeof value === "string" ? value : value?.join(", ");

/** A binary message that cannot be decoded, as Connect's handlers report it. */
export const cannotParse = (error: unknown): ConnectError =>
  new ConnectError(`parse binary: ${error instanceof Error ? error.message : error}`, Code.Internal);
