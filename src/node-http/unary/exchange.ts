import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import type { RawHeaders } from "../../rpc/request-headers.js";
import { resetError } from "../reset-error.js";

/** The response to a unary call. */
export interface UnaryResponse {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  /** Undefined: it has none. */
  readonly body: Uint8Array | undefined;
  readonly trailers: OutgoingHttpHeaders | undefined;
}

/** What happens to an exchange. */
export interface ExchangeEvents {
  /** A part of the request's body has arrived. */
  data(chunk: Uint8Array): void;
  /** The request's body has arrived as a whole. */
  end(): void;
  /** The response has been sent, or cannot be any more: with the error if the client or the connection ended it. */
  closed(error: ConnectError | undefined): void;
}

/** One HTTP request and its response, of either HTTP version. Nothing of the body is read before read(). */
export interface Exchange {
  readonly httpVersion: "1.1" | "2.0";
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: RawHeaders;
  readonly socket: Socket;
  /** The stream of HTTP/2, on which flow control holds a response back. */
  readonly stream: ServerHttp2Stream | undefined;
  events: ExchangeEvents | undefined;
  /** Counts the parts of the response that the connection has taken. */
  readonly progress: number;
  /** Reads the body from here on. */
  read(): void;
  /** Sends the response, no faster than the client takes it, and drops what is still to come of the request. */
  respond(response: UnaryResponse): void;
  /** Gives the response up: resets the stream, or closes the connection of HTTP/1.1. */
  reset(): void;
}

/** A larger response is written in pieces of this size, so that its progress can be seen. */
const PIECE_BYTES = 64 * 1024;

/** Writes `body` and ends `target`, waiting for "drain" whenever its buffer is full. */
function writeInPieces(
  target: Pick<ServerResponse, "write" | "end" | "once">,
  body: Uint8Array,
  onPiece: () => void,
): void {
  let at = 0;
  const writeOn = () => {
    onPiece();
    while (at + PIECE_BYTES < body.length) {
      const piece = body.subarray(at, (at += PIECE_BYTES));
      if (!target.write(piece)) return void target.once("drain", writeOn);
    }
    target.end(body.subarray(at));
  };
  writeOn();
}

/** A request over HTTP/2, on its stream: Node's request and response objects would cost as much as the call. */
export class Http2Exchange implements Exchange {
  readonly httpVersion = "2.0";
  readonly headers: RawHeaders;
  readonly stream: ServerHttp2Stream;
  events: ExchangeEvents | undefined;
  progress = 0;

  constructor(stream: ServerHttp2Stream, headers: RawHeaders) {
    this.stream = stream;
    this.headers = headers;
    stream.on("error", ignore);
    stream.once("close", () => {
      // A stream that was reset without an error before its response is one that its client has left.
      const error = resetError(stream.rstCode) ?? (stream.writableFinished ? undefined : left());
      this.events?.closed(error);
    });
  }

  get method(): string {
    return this.headers[":method"] as string;
  }

  get url(): string {
    return this.headers[":path"] as string;
  }

  get socket(): Socket {
    return this.stream.session?.socket as Socket;
  }

  read(): void {
    this.stream.on("data", (chunk: Uint8Array) => this.events?.data(chunk));
    this.stream.once("end", () => this.events?.end());
  }

  respond({ status, headers, body, trailers }: UnaryResponse): void {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    headers[":status"] = status;
    if (trailers) {
      stream.respond(headers, WAIT_FOR_TRAILERS);
      stream.once("wantTrailers", () => stream.sendTrailers(trailers));
    } else {
      stream.respond(headers);
    }
    if (!body) stream.end();
    else if (body.length <= PIECE_BYTES) stream.end(body);
    else writeInPieces(stream as never, body, () => this.progress++);
    if (!stream.readableEnded) stream.once("finish", () => stream.resume());
  }

  reset(): void {
    this.stream.close(constants.NGHTTP2_CANCEL);
  }
}

const WAIT_FOR_TRAILERS = { waitForTrailers: true };

/** A request over HTTP/1.1. */
export class Http1Exchange implements Exchange {
  readonly httpVersion = "1.1";
  readonly stream = undefined;
  events: ExchangeEvents | undefined;
  progress = 0;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    request.on("error", ignore);
    response.once("close", () => this.events?.closed(response.writableFinished ? undefined : left()));
  }

  get method(): string {
    return this.#request.method as string;
  }

  get url(): string {
    return this.#request.url as string;
  }

  get headers(): RawHeaders {
    return this.#request.headers;
  }

  get socket(): Socket {
    return this.#request.socket;
  }

  read(): void {
    this.#request.on("data", (chunk: Uint8Array) => this.events?.data(chunk));
    this.#request.once("end", () => this.events?.end());
  }

  respond({ status, headers, body }: UnaryResponse): void {
    const response = this.#response;
    if (response.destroyed || response.headersSent) return;
    response.writeHead(status, headers);
    if (!body || body.length <= PIECE_BYTES) response.end(body);
    else writeInPieces(response, body, () => this.progress++);
    if (!this.#request.readableEnded) response.once("finish", () => this.#request.resume());
  }

  reset(): void {
    this.#request.socket.destroy();
  }
}

const left = (): ConnectError => new ConnectError("the client has left", Code.Canceled);

/** An error of one request ends that request, which "close" reports as well. */
const ignore = (): void => {};
